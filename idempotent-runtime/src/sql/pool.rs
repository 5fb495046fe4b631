//! The user's connection pool, of either database.

use sqlx::Pool;

use super::{
    database::{Dialect, Found, Values},
    schema::Schema,
};

#[derive(Clone)]
pub(crate) enum DatabasePool {
    #[cfg(feature = "sqlx-sqlite")]
    Sqlite(Pool<sqlx::Sqlite>),
    #[cfg(feature = "sqlx-postgres")]
    Postgres(Pool<sqlx::Postgres>),
}

/// Calls a function of [`Dialect`] for the pool's database.
macro_rules! on {
    ($pools:expr, $pool:ident => $call:expr) => {
        match $pools {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite($pool) => $call,
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres($pool) => $call,
        }
    };
}

/// The functions of [`Dialect`].
impl DatabasePool {
    pub(crate) async fn find(&self, sql: &str, key: &[u8]) -> Result<Option<Found>, sqlx::Error> {
        on!(self, pool => Dialect::find_over(pool, sql, key).await)
    }

    pub(crate) async fn seal(&self, schema: &Schema, values: Values<'_>) -> Result<bool, sqlx::Error> {
        on!(self, pool => Dialect::seal(pool, schema, values).await)
    }

    pub(crate) async fn probe(&self, schema: &Schema, values: Values<'_>) -> Result<(), sqlx::Error> {
        on!(self, pool => Dialect::probe(pool, schema, values).await)
    }

    pub(crate) async fn reap(&self, schema: &Schema, most: u32) -> Result<u64, sqlx::Error> {
        on!(self, pool => Dialect::reap(pool, schema, most.into()).await)
    }

    pub(crate) async fn migrate(&self, schema: &Schema) -> Result<(), sqlx::Error> {
        on!(self, pool => Dialect::migrate(pool, schema).await)
    }
}
