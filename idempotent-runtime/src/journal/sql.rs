//! [`SqlJournal`]: the journal in a table of the user's database.

use std::{fmt, future::Future, time::Duration};

use sqlx::Pool;
use tokio::time::sleep;

use super::{readiness::Readiness, schema};
use crate::{
    error_chain::chain,
    sql::{
        pool::DatabasePool,
        schema::Schema,
        table::{Table, TableNameError},
    },
};

/// The table's name unless [`table`](SqlJournal::table) says otherwise.
const TABLE: &str = "idempotency_journal";

/// How many expired rows one statement deletes.
const BATCH: u32 = 500;

/// Responses in a table of your own database, so that [`Claim::commit`](crate::Claim::commit) can put each into the
/// transaction that it is the answer to.
///
/// ```
/// # #[cfg(feature = "sqlx-sqlite")]
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// use idempotent_runtime::{Idempotency, MemoryStore, SqlJournal};
///
/// let db = sqlx::SqlitePool::connect("sqlite://payments.db?mode=rwc").await?;
/// let journal = SqlJournal::sqlite(db.clone());
/// journal.migrate().await?;
/// tokio::spawn(journal.clone().keep_small(std::time::Duration::from_secs(60)));
/// let idempotency = Idempotency::builder(MemoryStore::new()).journal(journal).build();
/// # Ok(())
/// # }
/// ```
///
/// Give it a pool of the *primary*. A replica cannot be written to, and one that lags does not know of the last commits, so
/// that a handler would run again.
///
/// # The table
///
/// [`migrate`](Self::migrate) makes it, or you run the text of [`schema`](Self::schema) by hand. In Postgres:
///
/// ```sql
/// CREATE TABLE IF NOT EXISTS "idempotency_journal_version" (version bigint PRIMARY KEY);
/// CREATE TABLE IF NOT EXISTS "idempotency_journal" (
///     key         bytea       NOT NULL PRIMARY KEY, -- SHA-256 of the store key
///     fingerprint bytea       NOT NULL,
///     token       bytea       NOT NULL,
///     fence       bigint      NOT NULL,
///     record      bytea       NOT NULL,
///     created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
///     expires_at  timestamptz NOT NULL
/// );
/// CREATE INDEX IF NOT EXISTS "idempotency_journal_expires_at" ON "idempotency_journal" (expires_at);
/// INSERT INTO "idempotency_journal_version" (version) VALUES (1) ON CONFLICT DO NOTHING;
/// ```
///
/// Only commits, the reaper and migrations write to it; heartbeats never do. A row counts until `expires_at` by the
/// database's clock, which is the attribute's `ttl` after it was inserted.
///
/// # When the database does not answer
///
/// A commit fails with an error, and the transaction is rolled back. A run that ended without a commit, and an attempt
/// after one that died, are answered with 503 `journal-unavailable` instead of by a guess, and nothing is stored; the
/// retry is told that its predecessor died. First attempts do not read the journal before they run.
#[derive(Clone)]
pub struct SqlJournal {
    pub(super) pool: DatabasePool,
    pub(super) schema: Schema,
    pub(super) timeout: Duration,
    pub(super) readiness: Readiness,
}

/// The journal's table could not be made or cleaned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The database refused, or could not be reached.
    #[error("the journal's database refused, or cannot be reached")]
    Database(#[source] sqlx::Error),
}

impl SqlJournal {
    /// A journal in SQLite, in the database of this pool.
    ///
    /// Begin transactions that write with `BEGIN IMMEDIATE` (`pool.begin_with(…)`): one that reads first and writes then
    /// is refused by SQLite when another one wrote in between.
    #[cfg(feature = "sqlx-sqlite")]
    #[must_use]
    pub fn sqlite(pool: Pool<sqlx::Sqlite>) -> Self {
        Self::over(DatabasePool::Sqlite(pool), schema::sqlite(&default_table()))
    }

    /// A journal in Postgres, in the database of this pool. Any isolation level will do.
    ///
    /// A process that stands still in the middle of its transaction holds the key's row, and attempts after it fail with
    /// [`CommitError::Timeout`](crate::CommitError::Timeout) until it is gone. Postgres ends such a transaction when
    /// `idle_in_transaction_session_timeout` says so; a minute is a good value.
    #[cfg(feature = "sqlx-postgres")]
    #[must_use]
    pub fn postgres(pool: Pool<sqlx::Postgres>) -> Self {
        Self::over(DatabasePool::Postgres(pool), schema::postgres(&default_table()))
    }

    fn over(pool: DatabasePool, schema: Schema) -> Self {
        Self { pool, schema, timeout: Duration::from_secs(5), readiness: Readiness::default() }
    }

    /// The table's name, or `schema.name`. Default: `idempotency_journal`. It is quoted, so its case counts.
    ///
    /// # Errors
    /// If it is anything but ASCII letters, digits and `_`, 48 of them at the most in each part.
    pub fn table(mut self, name: &str) -> Result<Self, TableNameError> {
        let table = Table::parse(name)?;
        self.readiness = Readiness::default();
        self.schema = match self.pool {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(_) => schema::sqlite(&table),
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(_) => schema::postgres(&table),
        };
        Ok(self)
    }

    /// How long one question to the database may take, the wait for a connection included: an insertion, a COMMIT, a
    /// look. Default: 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes the table, or brings it to the layout of this version. Safe to call at every start, from many processes at
    /// once.
    ///
    /// # Errors
    /// If the database cannot be reached, or the role may not create tables.
    pub async fn migrate(&self) -> Result<(), JournalError> {
        self.pool.migrate(&self.schema).await.map_err(JournalError::Database)?;
        self.readiness.found();
        Ok(())
    }

    /// The SQL that [`migrate`](Self::migrate) runs on an empty database, for those who keep their migrations in files.
    #[must_use]
    pub fn schema(&self) -> String {
        self.schema.to_string()
    }

    /// The statement that records a response, for those who do not use sqlx: its six parameters are the fields of
    /// [`JournalEntry`](crate::JournalEntry) in their order. It has to change exactly one row; if it changes none, roll
    /// back.
    #[must_use]
    pub fn insert_statement(&self) -> &str {
        &self.schema.insert
    }

    /// Deletes up to `most` expired rows, the oldest first, and tells how many.
    ///
    /// # Errors
    /// If the database does not do it.
    pub async fn reap(&self, most: u32) -> Result<u64, JournalError> {
        self.readiness.cleaned();
        self.pool.reap(&self.schema, most).await.map_err(JournalError::Database)
    }

    /// Deletes expired rows for ever, in batches of 500: until none is left, and again after each `pause`. To be spawned;
    /// errors are logged. Any number of processes may do it at once.
    ///
    /// Without it the table grows for ever, so a process that neither spawns this nor calls [`reap`](Self::reap) logs one
    /// warning at its first request with a key. [`cleaned_elsewhere`](Self::cleaned_elsewhere) says that it need not.
    pub fn keep_small(self, pause: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.readiness.cleaned();
        async move {
            loop {
                match self.reap(BATCH).await {
                    Ok(reaped) if reaped >= BATCH.into() => tokio::task::yield_now().await,
                    Ok(_) => sleep(pause).await,
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "expired rows of the journal were not deleted");
                        sleep(pause).await;
                    }
                }
            }
        }
    }

    /// Another process or a job of the database deletes expired rows, so that this one does not warn.
    #[must_use]
    pub fn cleaned_elsewhere(self) -> Self {
        self.readiness.cleaned();
        self
    }
}

fn default_table() -> Table {
    #[allow(clippy::expect_used)] // a constant, and tested
    Table::parse(TABLE).expect("the default table has a name that is allowed")
}

impl fmt::Debug for SqlJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlJournal").field("database", &self.schema.kind).finish_non_exhaustive()
    }
}
