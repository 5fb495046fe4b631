//! Runs one statement on the database and returns the row that it gives.

#[cfg(feature = "sqlx-sqlite")]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use bytes::Bytes;
#[cfg(feature = "sqlx-sqlite")]
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{error::Failure, row::Columns};
use crate::{
    sql::{
        lent::{Lends, Lent},
        pool::DatabasePool,
    },
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
    /// How many statements that write have ended here.
    #[cfg(feature = "sqlx-sqlite")]
    written: Arc<AtomicU64>,
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
            #[cfg(feature = "sqlx-sqlite")]
            written: Arc::default(),
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
            own.written = Arc::default();
        }
        Some(own)
    }

    /// The user's pool.
    pub(super) fn pool(&self) -> &DatabasePool {
        &self.pool
    }

    async fn lend<DB: Lends>(&self, pool: &sqlx::Pool<DB>) -> Result<Lent<DB>, Failure> {
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
                let turn = self.turn().await?;
                let (database, sql) = (self.clone(), sql.to_owned());
                // Boxed, because it is large and is moved into a task.
                self.alone(turn, Box::pin(async move { database.read(&sql, parameters).await })).await
            }
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(_) => self.read(sql, parameters).await,
        }
    }

    /// Runs a statement that changes a row if the row is as expected. Otherwise it returns the row, which `look` reads by
    /// the first of the parameters.
    ///
    /// In SQLite, writing waits for the transaction that writes, and reading does not. A duplicate must not wait: the
    /// transaction may be that of its own first request, which was claimed while this one waited for its turn. So the row is
    /// read before the wait, and again afterwards if anything was written in the meantime.
    pub(super) async fn write_if(
        &self,
        look: &str,
        is_expected: impl Fn(Option<&Columns>) -> bool + Send + Sync + 'static,
        sql: &str,
        parameters: Vec<Parameter>,
    ) -> Result<Option<Columns>, Failure> {
        match &self.pool {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(_) => {
                let before = self.written.load(SeqCst);
                let key: Vec<_> = parameters.iter().take(1).cloned().collect();
                let seen = self.read(look, key.clone()).await?;
                if !is_expected(seen.as_ref()) {
                    return Ok(seen);
                }
                let turn = self.turn().await?;
                let (database, look, sql) = (self.clone(), look.to_owned(), sql.to_owned());
                // Boxed, because it is large and is moved into a task.
                let write = Box::pin(async move {
                    if database.written.load(SeqCst) != before {
                        let seen = database.read(&look, key).await?;
                        if !is_expected(seen.as_ref()) {
                            return Ok(seen);
                        }
                    }
                    database.read(&sql, parameters).await
                });
                self.alone(turn, write).await
            }
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(_) => {
                // One statement does all this: a row that is locked is left out.
                let _ = (look, is_expected);
                self.read(sql, parameters).await
            }
        }
    }

    /// Waits until no other statement of this process writes.
    #[cfg(feature = "sqlx-sqlite")]
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.writer.clone().acquire_owned().await.map_err(closed)
    }

    /// Runs a statement as the only writer of this process. It runs in its own task, because a statement that waits inside
    /// SQLite cannot be cancelled: if its caller gives up, the next writer must still wait for it here.
    #[cfg(feature = "sqlx-sqlite")]
    async fn alone<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        write: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let count = Arc::clone(&self.written);
        let writing = tokio::spawn(async move {
            let written = write.await;
            count.fetch_add(1, SeqCst);
            drop(turn);
            written
        });
        writing.await.map_err(closed)?
    }

    /// Runs a statement that returns one number.
    pub(super) async fn number(&self, sql: &str) -> Result<i64, Failure> {
        Ok(over!(self, |connection| sqlx::query_scalar(sql).fetch_one(connection)))
    }
}

#[cfg(feature = "sqlx-sqlite")]
fn closed(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Other(StoreError::Unreachable(error.into()))
}

#[cfg(all(test, feature = "sqlx-sqlite"))]
mod tests {
    use std::{pin::pin, time::Duration};

    use super::*;
    use crate::store::{ClaimOutcome, ClaimRequest, Claims as _, Fingerprint, StoreKey, sql::SqlStore};

    /// How long a test waits for something that must happen, on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_duplicate_that_has_waited_for_its_turn_does_not_wait_for_its_first_requests_transaction() {
        let file = std::env::temp_dir().join(format!("idempotent-duplicate-{}.db", std::process::id()));
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let pool = sqlx::SqlitePool::connect_lazy_with(options.busy_timeout(10 * PATIENCE));
        let store = SqlStore::sqlite(pool.clone()).delete_expired_by_hand().migrated().await.expect("a table");
        let request = || ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([0; 32]));
        let (first, duplicate) = (request(), request());
        let (mut claim, mut duplicate) = (pin!(store.claim(&first)), pin!(store.claim(&duplicate)));
        // Both find no row, and wait for their turn. Who waits has a handle of the semaphore.
        let writer = &store.shared.rows.database.writer;
        let (turn, handles) = (writer.try_acquire().expect("nobody writes"), Arc::strong_count(writer));
        while Arc::strong_count(writer) < handles + 2 {
            tokio::select! {
                biased;
                _ = &mut claim => panic!("it writes though it is not its turn"),
                _ = &mut duplicate, if Arc::strong_count(writer) > handles => panic!("it writes as well"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
        drop(turn);
        assert!(matches!(claim.await, Ok(ClaimOutcome::Acquired(_))));
        let transaction = pool.begin_with("BEGIN IMMEDIATE").await.expect("nobody writes");
        let answer = tokio::time::timeout(PATIENCE, duplicate).await;
        drop(transaction);
        std::fs::remove_file(&file).expect("it was created");
        assert!(matches!(answer, Ok(Ok(ClaimOutcome::Running { .. }))), "{answer:?}");
    }

    #[tokio::test]
    async fn a_heartbeat_does_not_wait_for_the_turn_of_a_writer_whose_runtime_is_blocked() {
        let file = std::env::temp_dir().join(format!("idempotent-heartbeat-{}.db", uuid::Uuid::new_v4()));
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let service = Database::new(DatabasePool::Sqlite(sqlx::SqlitePool::connect_lazy_with(options)));
        let heartbeats = service.for_heartbeats().expect("a file has connections beside the pool");
        let _turn = service.writer.try_acquire().expect("nobody else writes");
        let written = heartbeats.write("CREATE TABLE written (x)", Vec::new());
        let written = tokio::time::timeout(PATIENCE, written).await;
        std::fs::remove_file(&file).expect("it was created");
        assert!(matches!(written, Ok(Ok(None))), "it waited for the service's writer");
    }
}
