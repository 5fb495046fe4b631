//! The user's connection pool, of either database.

use sqlx::{Connection, Pool};

use super::{
    database::{Dialect, Found, Values},
    schema::Schema,
};
use crate::telemetry::clean_up;

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

impl DatabasePool {
    /// Another pool of one connection with the same settings, which is opened when it is first used. `None` for a
    /// database in memory, where each connection may open its own database.
    #[cfg_attr(not(feature = "sqlx-sqlite"), allow(clippy::unnecessary_wraps))]
    pub(crate) fn beside(&self) -> Option<Self> {
        match self {
            #[cfg(feature = "sqlx-sqlite")]
            Self::Sqlite(pool) => (!is_in_memory(&pool.connect_options())).then(|| Self::Sqlite(one_beside(pool))),
            #[cfg(feature = "sqlx-postgres")]
            Self::Postgres(pool) => Some(Self::Postgres(one_beside(pool))),
        }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        match self {
            #[cfg(feature = "sqlx-sqlite")]
            Self::Sqlite(_) => true,
            #[cfg(feature = "sqlx-postgres")]
            Self::Postgres(_) => false,
        }
    }
}

pub(super) fn one_beside<DB: sqlx::Database>(pool: &Pool<DB>) -> Pool<DB> {
    let options: <DB::Connection as Connection>::Options = (*pool.connect_options()).clone();
    pool.options().clone().min_connections(0).max_connections(1).connect_lazy_with(options)
}

#[cfg(feature = "sqlx-sqlite")]
fn is_in_memory(options: &sqlx::sqlite::SqliteConnectOptions) -> bool {
    let file = options.get_filename().as_os_str();
    let url = sqlx::ConnectOptions::to_url_lossy(options);
    file.is_empty() || file == ":memory:" || url.query_pairs().any(|(name, mode)| name == "mode" && mode == "memory")
}

/// The functions of [`Dialect`].
impl DatabasePool {
    pub(crate) async fn find(&self, sql: &str, key: &[u8]) -> Result<Option<Found>, sqlx::Error> {
        on!(self, pool => Dialect::find_over(pool, sql, key).await)
    }

    pub(crate) async fn write_row(&self, schema: &Schema, values: Values<'_>) -> Result<bool, sqlx::Error> {
        on!(self, pool => Dialect::insert_over(pool, schema, values, true).await)
    }

    pub(crate) async fn probe(&self, schema: &Schema, values: Values<'_>) -> Result<(), sqlx::Error> {
        on!(self, pool => Dialect::insert_over(pool, schema, values, false).await).map(drop)
    }

    pub(crate) async fn delete_expired(&self, schema: &Schema, most: u32) -> Result<u64, sqlx::Error> {
        let deleted = on!(self, pool => Dialect::delete_expired(pool, schema, most.into()).await)?;
        clean_up::deleted(deleted);
        Ok(deleted)
    }

    pub(crate) async fn migrate(&self, schema: &Schema) -> Result<(), sqlx::Error> {
        on!(self, pool => Dialect::migrate(pool, schema).await)
    }
}
