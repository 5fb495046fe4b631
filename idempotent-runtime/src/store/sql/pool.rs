//! The user's connection pool, of either database, and what needs its own connection for longer than one statement.

use sqlx::{Connection, Pool};

use super::{
    dialect::{self, Dialect, Lent, Parameter},
    row::Columns,
    schema::Schema,
};
use crate::{protocol::ClaimRequest, telemetry::clean_up};

#[derive(Clone)]
pub(crate) enum DatabasePool {
    #[cfg(feature = "sqlx-sqlite")]
    Sqlite(Pool<sqlx::Sqlite>),
    #[cfg(feature = "sqlx-postgres")]
    Postgres(Pool<sqlx::Postgres>),
}

/// Does the same with the pool of either database.
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
    pub(super) fn beside(&self) -> Option<Self> {
        match self {
            #[cfg(feature = "sqlx-sqlite")]
            Self::Sqlite(pool) => (!is_in_memory(&pool.connect_options())).then(|| Self::Sqlite(one_beside(pool))),
            #[cfg(feature = "sqlx-postgres")]
            Self::Postgres(pool) => Some(Self::Postgres(one_beside(pool))),
        }
    }

    pub(super) fn is_sqlite(&self) -> bool {
        match self {
            #[cfg(feature = "sqlx-sqlite")]
            Self::Sqlite(_) => true,
            #[cfg(feature = "sqlx-postgres")]
            Self::Postgres(_) => false,
        }
    }

    /// Runs a statement that returns one row at most. The outer error: there is no connection, so nothing was sent.
    pub(super) async fn row(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Result<Option<Columns>, sqlx::Error>, sqlx::Error> {
        on!(self, pool => Ok(Lent::by(pool).await?.row(sql, parameters).await))
    }

    /// Runs a statement that returns one number.
    pub(super) async fn number(&self, sql: &str) -> Result<Result<i64, sqlx::Error>, sqlx::Error> {
        on!(self, pool => Ok(Lent::by(pool).await?.number(sql).await))
    }

    /// Writes a response in its own transaction. Returns whether the key was free. Without `keep` it rolls back: when it
    /// returns, no open transaction has written the key.
    pub(crate) async fn insert(
        &self,
        schema: &Schema,
        claim: &ClaimRequest,
        fence: u64,
        record: &[u8],
        keep: bool,
    ) -> Result<bool, sqlx::Error> {
        on!(self, pool => insert(pool, schema, claim, fence, record, keep).await)
    }

    pub(super) async fn delete_expired(&self, sql: &str, most: u32) -> Result<u64, sqlx::Error> {
        let most = [Parameter::Number(most.into())];
        let deleted = on!(self, pool => Lent::by(pool).await?.change(sql, &most).await)?;
        clean_up::deleted(deleted);
        Ok(deleted)
    }

    pub(super) async fn migrate(&self, schema: &Schema) -> Result<(), sqlx::Error> {
        on!(self, pool => migrate(pool, schema).await)
    }
}

async fn insert<DB: Dialect>(
    pool: &Pool<DB>,
    schema: &Schema,
    claim: &ClaimRequest,
    fence: u64,
    record: &[u8],
    keep: bool,
) -> Result<bool, sqlx::Error> {
    let mut lent = Lent::by(pool).await?;
    let connection = lent.connection()?;
    let inserted = async {
        let mut own = connection.begin_with(DB::BEGIN).await?;
        let inserted = dialect::insert::<DB>(&mut own, schema, claim, fence, record).await?;
        if keep {
            own.commit().await?;
        } else {
            own.rollback().await?;
        }
        Ok(inserted)
    };
    let inserted = inserted.await;
    lent.answered(inserted)
}

async fn migrate<DB: Dialect>(pool: &Pool<DB>, schema: &Schema) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    // Usually the table is up to date. This check takes no lock, so it does not wait for other writers.
    let version = DB::number(&mut connection, &schema.version).await;
    if version.is_ok_and(|version| schema.migration(version).is_empty()) {
        return Ok(());
    }
    let mut migration = connection.begin_with(DB::BEGIN).await?;
    if let Some(lock) = DB::LOCK {
        DB::run(&mut migration, lock).await?;
    }
    DB::run(&mut migration, &schema.versions).await?;
    let version = DB::number(&mut migration, &schema.version).await?;
    for step in schema.migration(version) {
        DB::run(&mut migration, step).await?;
    }
    migration.commit().await
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
