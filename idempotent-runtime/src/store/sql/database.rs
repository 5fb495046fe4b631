//! Runs one statement on the database and returns the row that it gives.

#[cfg(feature = "sqlx-sqlite")]
use std::sync::Arc;

use bytes::Bytes;
#[cfg(feature = "sqlx-sqlite")]
use tokio::sync::Semaphore;

use super::{error::Failure, row::Columns};
use crate::{
    sql::{database::Dialect, lent::Lent, pool::DatabasePool},
    store::StoreError,
};

/// A parameter of a statement.
#[derive(Clone)]
pub(super) enum Parameter {
    Number(i64),
    Bytes(Bytes),
    /// NULL, for bytes or for a number.
    NoBytes,
    NoNumber,
}

impl Parameter {
    pub(super) fn bytes(bytes: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }
}

/// A pool, and a limit that keeps the store from using all its connections.
#[derive(Clone)]
pub(super) struct Database {
    pool: DatabasePool,
    /// SQLite has one writer. A writer that waits inside SQLite holds a connection, so only one at a time is let in.
    #[cfg(feature = "sqlx-sqlite")]
    writer: Arc<Semaphore>,
    /// The pool is the heartbeats' own. If it gives no connection, the store's other pool is used.
    for_heartbeats: bool,
}

/// The code is the same for both databases, but sqlx's types differ.
macro_rules! query {
    ($sql:expr, $parameters:expr) => {
        $parameters.iter().fold(sqlx::query_as::<_, Columns>($sql), |query, parameter| match parameter {
            Parameter::Number(number) => query.bind(*number),
            Parameter::Bytes(bytes) => query.bind(&bytes[..]),
            Parameter::NoBytes => query.bind(None::<&[u8]>),
            Parameter::NoNumber => query.bind(None::<i64>),
        })
    };
}

/// Calls the database over a connection of the pool.
macro_rules! over {
    ($database:expr, |$connection:ident| $call:expr) => {
        match &$database.pool {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(pool) => over!($database, pool, $connection, $call),
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(pool) => over!($database, pool, $connection, $call),
        }
    };
    ($database:expr, $pool:ident, $connection:ident, $call:expr) => {{
        let mut lent = $database.lend($pool).await?;
        let $connection = lent.connection()?;
        let answer = $call.await;
        lent.answered(answer)?
    }};
}

impl Database {
    pub(super) fn new(pool: DatabasePool) -> Self {
        Self {
            pool,
            #[cfg(feature = "sqlx-sqlite")]
            writer: Arc::new(Semaphore::new(1)),
            for_heartbeats: false,
        }
    }

    /// The same database over one connection beside the pool, for the renewals: handlers may hold every connection of
    /// the pool for longer than a lease. `None` for a database in memory, which may have only one connection.
    pub(super) fn for_heartbeats(&self) -> Option<Self> {
        let mut own = self.clone();
        own.pool = self.pool.beside()?;
        own.for_heartbeats = true;
        // Its turn must not depend on a task of the service's runtime, which a handler may block.
        #[cfg(feature = "sqlx-sqlite")]
        {
            own.writer = Arc::new(Semaphore::new(1));
        }
        Some(own)
    }

    /// The user's pool.
    pub(super) fn pool(&self) -> &DatabasePool {
        &self.pool
    }

    async fn lend<DB: Dialect>(&self, pool: &sqlx::Pool<DB>) -> Result<Lent<DB>, Failure> {
        Lent::by(pool).await.map_err(|error| match error {
            // Nothing was sent.
            error if self.for_heartbeats => Failure::Other(StoreError::Down(error.into())),
            error => error.into(),
        })
    }

    /// Runs a statement, which returns one row at most. All of its rows are fetched, because SQLite ends a statement only
    /// then.
    pub(super) async fn read(&self, sql: &str, parameters: Vec<Parameter>) -> Result<Option<Columns>, Failure> {
        let rows = over!(self, |connection| query!(sql, parameters).fetch_all(connection));
        Ok(rows.into_iter().next())
    }

    /// Runs a statement that changes a row, in its own transaction.
    pub(super) async fn write(&self, sql: &str, parameters: Vec<Parameter>) -> Result<Option<Columns>, Failure> {
        match &self.pool {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(_) => {
                let (database, sql) = (self.clone(), sql.to_owned());
                // Boxed, because it is large and is moved into a task.
                alone(&self.writer, Box::pin(async move { database.read(&sql, parameters).await })).await
            }
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(_) => self.read(sql, parameters).await,
        }
    }

    /// Runs a statement that returns one number.
    pub(super) async fn number(&self, sql: &str) -> Result<i64, Failure> {
        Ok(over!(self, |connection| sqlx::query_scalar(sql).fetch_one(connection)))
    }
}

/// Runs a statement as the only writer of this process. It runs in its own task, because a statement that waits inside
/// SQLite cannot be cancelled: if its caller gives up, the next writer must still wait for it here.
#[cfg(feature = "sqlx-sqlite")]
async fn alone<T: Send + 'static>(
    writer: &Arc<Semaphore>,
    write: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let closed = |error: Box<dyn std::error::Error + Send + Sync>| Failure::Other(StoreError::Unreachable(error));
    let turn = writer.clone().acquire_owned().await.map_err(|error| closed(error.into()))?;
    let writing = tokio::spawn(async move {
        let written = write.await;
        drop(turn);
        written
    });
    writing.await.map_err(|error| closed(error.into()))?
}

#[cfg(all(test, feature = "sqlx-sqlite"))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_heartbeat_does_not_wait_for_the_turn_of_a_writer_whose_runtime_is_blocked() {
        let file = std::env::temp_dir().join(format!("idempotent-heartbeat-{}.db", uuid::Uuid::new_v4()));
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let service = Database::new(DatabasePool::Sqlite(sqlx::SqlitePool::connect_lazy_with(options)));
        let heartbeats = service.for_heartbeats().expect("a file has connections beside the pool");
        let _turn = service.writer.try_acquire().expect("nobody else writes");
        let written = heartbeats.write("CREATE TABLE written (x)", Vec::new());
        let written = tokio::time::timeout(Duration::from_secs(60), written).await;
        std::fs::remove_file(&file).expect("it was created");
        assert!(matches!(written, Ok(Ok(None))), "it waited for the service's writer");
    }
}
