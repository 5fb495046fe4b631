//! Runs one statement on the database and returns the row that it gives.

#[cfg(feature = "sqlx-sqlite")]
use std::sync::Arc;

use bytes::Bytes;
use sqlx::pool::PoolConnection;
#[cfg(feature = "sqlx-sqlite")]
use tokio::sync::Semaphore;

use super::{error::Failure, row::Columns};
use crate::{sql::pool::DatabasePool, store::StoreError};

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

    async fn lend<DB: sqlx::Database>(&self, pool: &sqlx::Pool<DB>) -> Result<PoolConnection<DB>, Failure> {
        let lent = pool.acquire().await;
        lent.map_err(|error| match error {
            // Nothing was sent.
            error if self.for_heartbeats => Failure::Other(StoreError::Down(error.into())),
            error => error.into(),
        })
    }

    /// Runs a statement that changes nothing.
    pub(super) async fn read(&self, sql: &str, parameters: Vec<Parameter>) -> Result<Option<Columns>, Failure> {
        Ok(match &self.pool {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(pool) => query!(sql, parameters).fetch_all(&mut *self.lend(pool).await?).await?.pop(),
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(pool) => postgres::ask(self.lend(pool).await?, sql, &parameters).await?,
        })
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
        Ok(match &self.pool {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(&mut *self.lend(pool).await?).await?,
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(pool) => postgres::number(self.lend(pool).await?, sql).await?,
        })
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

#[cfg(feature = "sqlx-postgres")]
mod postgres {
    use sqlx::{PgConnection, Postgres, pool::PoolConnection};

    use super::{Columns, Parameter};

    /// A connection during one call.
    ///
    /// If a call is dropped before its answer, its connection leads to a server that may never answer. sqlx would ask
    /// that server whether the connection is still good, and wait for ever. The pool would lose a connection with every
    /// such call. So the connection is closed instead.
    struct Lent {
        connection: Option<PoolConnection<Postgres>>,
    }

    impl Lent {
        fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
            self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
        }

        /// Returns the connection to the pool if the server answered and can be used further. Otherwise closes it.
        fn answered<T>(mut self, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
            let good = match &answer {
                Ok(_) => true,
                Err(sqlx::Error::Database(refused)) => refused.code().as_deref() != Some(READ_ONLY),
                Err(_) => false,
            };
            if good {
                drop(self.connection.take());
            }
            answer
        }
    }

    /// After a failover, the connections of a pool lead to the old server, which only reads. A new connection looks the
    /// server's name up again.
    const READ_ONLY: &str = "25006";

    impl Drop for Lent {
        fn drop(&mut self) {
            drop(self.connection.take().map(PoolConnection::detach));
        }
    }

    pub(super) async fn ask(
        connection: PoolConnection<Postgres>,
        sql: &str,
        parameters: &[Parameter],
    ) -> Result<Option<Columns>, sqlx::Error> {
        let mut lent = Lent { connection: Some(connection) };
        let answer = query!(sql, parameters).fetch_optional(lent.connection()?).await;
        lent.answered(answer)
    }

    pub(super) async fn number(connection: PoolConnection<Postgres>, sql: &str) -> Result<i64, sqlx::Error> {
        let mut lent = Lent { connection: Some(connection) };
        let answer = sqlx::query_scalar(sql).fetch_one(lent.connection()?).await;
        lent.answered(answer)
    }
}

#[cfg(all(test, feature = "sqlx-sqlite"))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_heartbeat_does_not_wait_for_the_turn_of_a_writer_whose_runtime_is_blocked() {
        let file = std::env::temp_dir().join(format!("idempotent-heartbeat-{}.db", std::process::id()));
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let service = Database::new(DatabasePool::Sqlite(sqlx::SqlitePool::connect_lazy_with(options)));
        let heartbeats = service.for_heartbeats().expect("a file has connections beside the pool");
        let _turn = service.writer.try_acquire().expect("nobody else writes");
        let written = heartbeats.write("CREATE TABLE written (x)", Vec::new());
        let written = tokio::time::timeout(Duration::from_secs(10), written).await;
        std::fs::remove_file(&file).expect("it was created");
        assert!(matches!(written, Ok(Ok(None))), "it waited for the service's writer");
    }
}
