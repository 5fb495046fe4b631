//! Runs one statement on the database and returns the row that it gives.

#[cfg(feature = "sqlx-sqlite")]
use std::sync::Arc;

use bytes::Bytes;
#[cfg(feature = "sqlx-sqlite")]
use tokio::sync::Semaphore;

use super::{error::Failure, present::Columns};
use crate::sql::pool::DatabasePool;

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
    pub(super) pool: DatabasePool,
    /// SQLite has one writer. A writer that waits inside SQLite holds a connection, so only one at a time is let in.
    #[cfg(feature = "sqlx-sqlite")]
    writer: Arc<Semaphore>,
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
        }
    }

    /// Runs a statement that changes nothing.
    pub(super) async fn read(&self, sql: &str, parameters: Vec<Parameter>) -> Result<Option<Columns>, Failure> {
        Ok(match &self.pool {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(pool) => query!(sql, parameters).fetch_all(pool).await?.pop(),
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(pool) => postgres::ask(pool, sql, &parameters).await?,
        })
    }

    /// Runs a statement that changes a row, in its own transaction.
    pub(super) async fn write(&self, sql: &str, parameters: Vec<Parameter>) -> Result<Option<Columns>, Failure> {
        match &self.pool {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(pool) => {
                let (pool, sql) = (pool.clone(), sql.to_owned());
                self.alone(async move { Ok(query!(&sql, parameters).fetch_all(&pool).await?.pop()) }).await
            }
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(pool) => Ok(postgres::ask(pool, sql, &parameters).await?),
        }
    }

    /// Runs a statement as the only writer of this process. It runs in its own task, because a statement that waits
    /// inside SQLite cannot be cancelled: if its caller gives up, the next writer must still wait for it here.
    #[cfg(feature = "sqlx-sqlite")]
    async fn alone<T: Send + 'static>(
        &self,
        write: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        use crate::store::StoreError;

        let closed = |error: Box<dyn std::error::Error + Send + Sync>| Failure::Other(StoreError::Unreachable(error));
        let turn = self.writer.clone().acquire_owned().await.map_err(|error| closed(error.into()))?;
        let writing = tokio::spawn(async move {
            let written = write.await;
            drop(turn);
            written
        });
        writing.await.map_err(|error| closed(error.into()))?
    }

    /// Runs a statement that returns one number.
    pub(super) async fn number(&self, sql: &str) -> Result<i64, Failure> {
        Ok(match &self.pool {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await?,
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(pool) => postgres::number(pool, sql).await?,
        })
    }
}

/// If a call is dropped before its answer, its connection leads to a server that may never answer. sqlx would ask that
/// server whether the connection is still good, and wait for ever. The pool would lose a connection with every such
/// call. So the connection is closed instead.
#[cfg(feature = "sqlx-postgres")]
mod postgres {
    use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};

    use super::{Columns, Parameter};

    struct Lent {
        connection: Option<PoolConnection<Postgres>>,
    }

    impl Lent {
        async fn from(pool: &PgPool) -> Result<Self, sqlx::Error> {
            Ok(Self { connection: Some(pool.acquire().await?) })
        }

        fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
            self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
        }

        /// Returns the connection to the pool if there was an answer. Otherwise closes it.
        fn answered<T>(mut self, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
            if matches!(answer, Ok(_) | Err(sqlx::Error::Database(_))) {
                drop(self.connection.take());
            }
            answer
        }
    }

    impl Drop for Lent {
        fn drop(&mut self) {
            drop(self.connection.take().map(PoolConnection::detach));
        }
    }

    pub(super) async fn ask(
        pool: &PgPool,
        sql: &str,
        parameters: &[Parameter],
    ) -> Result<Option<Columns>, sqlx::Error> {
        let mut lent = Lent::from(pool).await?;
        let answer = query!(sql, parameters).fetch_optional(lent.connection()?).await;
        lent.answered(answer)
    }

    pub(super) async fn number(pool: &PgPool, sql: &str) -> Result<i64, sqlx::Error> {
        let mut lent = Lent::from(pool).await?;
        let answer = sqlx::query_scalar(sql).fetch_one(lent.connection()?).await;
        lent.answered(answer)
    }
}
