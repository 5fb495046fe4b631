//! [`SqlJournal`]: the journal in a table of the user's database.

use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;
use sqlx::Pool;
use tokio::time::{sleep, timeout};

use super::{
    Call, Journal, Row, Unanswered,
    row::{row, values},
    schema,
};
use crate::{
    error_chain::chain,
    sql::{
        digest,
        pool::DatabasePool,
        schema::Schema,
        table::{Table, TableNameError},
    },
    store::{Attempt, StoreKey},
};

/// The table's name unless [`table`](SqlJournal::table) says otherwise.
const TABLE: &str = "idempotency_journal";

/// So many expired rows are deleted by one statement.
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
    pool: DatabasePool,
    schema: Schema,
    find: String,
    timeout: Duration,
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
        let (schema, find) = schema::sqlite(&default_table());
        Self { pool: DatabasePool::Sqlite(pool), schema, find, timeout: Duration::from_secs(5) }
    }

    /// A journal in Postgres, in the database of this pool. Any isolation level will do.
    ///
    /// A process that stands still in the middle of its transaction holds the key's row, and attempts after it fail with
    /// [`CommitError::Timeout`](crate::CommitError::Timeout) until it is gone. Postgres ends such a transaction when
    /// `idle_in_transaction_session_timeout` says so; a minute is a good value.
    #[cfg(feature = "sqlx-postgres")]
    #[must_use]
    pub fn postgres(pool: Pool<sqlx::Postgres>) -> Self {
        let (schema, find) = schema::postgres(&default_table());
        Self { pool: DatabasePool::Postgres(pool), schema, find, timeout: Duration::from_secs(5) }
    }

    /// The table's name, or `schema.name`. Default: `idempotency_journal`. It is quoted, so its case counts.
    ///
    /// # Errors
    /// If it is anything but ASCII letters, digits and `_`, 48 of them at the most in each part.
    pub fn table(mut self, name: &str) -> Result<Self, TableNameError> {
        let table = Table::parse(name)?;
        (self.schema, self.find) = match self.pool {
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
        self.pool.migrate(&self.schema).await.map_err(JournalError::Database)
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
        self.pool.reap(&self.schema, most).await.map_err(JournalError::Database)
    }

    /// Deletes expired rows for ever, in batches of 500: until none is left, and again after each `pause`. To be spawned;
    /// errors are logged. Any number of processes may do it at once.
    pub async fn keep_small(self, pause: Duration) {
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

    async fn look(&self, key: &[u8; 32]) -> Result<Option<Row>, sqlx::Error> {
        self.pool.find(&self.find, key).await?.map(row).transpose()
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Unanswered> {
        match timeout(self.timeout, call).await {
            Ok(answered) => answered.map_err(|error| Unanswered::Failed(error.into())),
            Err(_) => Err(Unanswered::Timeout),
        }
    }
}

fn default_table() -> Table {
    #[allow(clippy::expect_used)] // a constant, and tested
    Table::parse(TABLE).expect("the default table has a name that is allowed")
}

impl fmt::Debug for SqlJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlJournal").field("dialect", &self.schema.dialect).finish_non_exhaustive()
    }
}

impl Journal for SqlJournal {
    fn find<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Row>> {
        Box::pin(self.within(async move { self.look(&digest(key)).await }))
    }

    fn settle<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, Option<Row>> {
        Box::pin(self.within(async move {
            let key = digest(&attempt.key);
            // Most transactions are committed by now; a look is cheaper than a transaction that is rolled back.
            if let Some(row) = self.look(&key).await? {
                return Ok(Some(row));
            }
            self.pool.probe(&self.schema, values(attempt, &key, 0, &[])).await?;
            self.look(&key).await
        }))
    }

    fn seal<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: &'a Bytes) -> Call<'a, Option<Row>> {
        Box::pin(self.within(async move {
            let key = digest(&attempt.key);
            if self.pool.seal(&self.schema, values(attempt, &key, fence, record)).await? {
                return Ok(None);
            }
            self.look(&key).await
        }))
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }
}
