//! Runs one statement on the database and returns the row that it gives.

#[cfg(feature = "sqlx-sqlite")]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

#[cfg(feature = "sqlx-sqlite")]
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[cfg(feature = "sqlx-sqlite")]
use super::row::seen;
use super::{dialect::Parameter, error::Failure, pool::DatabasePool, row::Columns};
use crate::store::{Expect, StoreError};

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

    /// The error of a pool that gives no connection.
    fn unconnected(&self, error: sqlx::Error) -> Failure {
        if self.for_heartbeats { Failure::Other(StoreError::Down(error.into())) } else { error.into() }
    }

    /// Runs a statement, which returns one row at most.
    pub(super) async fn read(&self, sql: &str, parameters: Vec<Parameter<'_>>) -> Result<Option<Columns>, Failure> {
        Ok(self.pool.row(sql, &parameters).await.map_err(|error| self.unconnected(error))??)
    }

    /// Runs a statement that changes a row if the row is as expected. Otherwise it returns the row, which `read` reads by
    /// the first of the parameters. If the owner is expected, the row is not read first.
    ///
    /// In SQLite, writing waits for the transaction that writes, and reading does not. A duplicate must not wait: the
    /// transaction may be that of its own first request, which was claimed while this one waited for its turn. So the row is
    /// read before the wait, and again afterwards if anything was written in the meantime.
    pub(super) async fn write(
        &self,
        read: &str,
        expect: &Expect,
        sql: &str,
        parameters: Vec<Parameter<'static>>,
    ) -> Result<Option<Columns>, Failure> {
        match &self.pool {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(_) => {
                let before = self.written.load(SeqCst);
                let key: Vec<_> = parameters.iter().take(1).cloned().collect();
                let is_owner = matches!(expect, Expect::Owner { .. });
                if !is_owner {
                    let found = self.read(read, key.clone()).await?;
                    if !expect.allows(&seen(found.clone())) {
                        return Ok(found);
                    }
                }
                let turn = self.turn().await?;
                let (database, read, expect, sql) = (self.clone(), read.to_owned(), expect.clone(), sql.to_owned());
                // Boxed, because it is large and is moved into a task.
                let write = Box::pin(async move {
                    if !is_owner && database.written.load(SeqCst) != before {
                        let found = database.read(&read, key).await?;
                        if !expect.allows(&seen(found.clone())) {
                            return Ok(found);
                        }
                    }
                    database.read(&sql, parameters).await
                });
                self.alone(turn, write).await
            }
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(_) => {
                // One statement does all this: a row that is locked is left out.
                let _ = (read, expect);
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
        Ok(self.pool.number(sql).await.map_err(|error| self.unconnected(error))??)
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
    use crate::store::{Change, ClaimOutcome, ClaimRequest, Claims as _, Fingerprint, StoreKey, Token, sql::SqlStore};

    /// How long a test waits for something that must happen, on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A database in a file. Dropping it removes the file, and those that SQLite keeps beside it.
    struct File(std::path::PathBuf);

    impl File {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("idempotent-{}.db", uuid::Uuid::new_v4())))
        }

        fn options(&self) -> sqlx::sqlite::SqliteConnectOptions {
            sqlx::sqlite::SqliteConnectOptions::new().filename(&self.0).create_if_missing(true)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            for more in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{more}", self.0.display()));
            }
        }
    }

    #[tokio::test]
    async fn a_duplicate_that_has_waited_for_its_turn_does_not_wait_for_its_first_requests_transaction() {
        let file = File::new();
        let pool = sqlx::SqlitePool::connect_lazy_with(file.options().busy_timeout(10 * PATIENCE));
        let store = SqlStore::sqlite(pool.clone()).delete_expired_by_hand().migrated().await.expect("a table");
        let request = || ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([0; 32]));
        let (first, duplicate) = (request(), request());
        let (mut claim, mut duplicate) = (pin!(store.claim(&first)), pin!(store.claim(&duplicate)));
        // Both find no row, and wait for their turn. Who waits has a handle of the semaphore.
        let writer = &store.shared.database.writer;
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
        assert!(file.0.exists(), "it was created");
        assert!(matches!(answer, Ok(Ok(ClaimOutcome::Running { .. }))), "{answer:?}");
    }

    #[tokio::test]
    async fn a_heartbeat_does_not_wait_for_the_turn_of_a_writer_whose_runtime_is_blocked() {
        let file = File::new();
        let service = Database::new(DatabasePool::Sqlite(sqlx::SqlitePool::connect_lazy_with(file.options())));
        let heartbeats = service.for_heartbeats().expect("a file has connections beside the pool");
        let _turn = service.writer.try_acquire().expect("nobody else writes");
        let owner = Expect::Owner { token: Token::fresh(), before: Change::COMPLETED };
        let written = heartbeats.write("", &owner, "CREATE TABLE written (x)", Vec::new());
        let written = tokio::time::timeout(PATIENCE, written).await;
        assert!(file.0.exists(), "it was created");
        assert!(matches!(written, Ok(Ok(None))), "it waited for the service's writer");
    }
}
