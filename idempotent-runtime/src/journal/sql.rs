//! [`SqlJournal`]: a journal in a table of the user's database.

use std::{fmt, future::Future, time::Duration};

use sqlx::Pool;
use tokio::time::sleep;

use super::{readiness::Readiness, schema};
use crate::{
    config,
    error_chain::chain,
    sql::{
        pool::DatabasePool,
        schema::Schema,
        table::{Table, TableNameError},
    },
    telemetry::clean_up,
};

/// The table's name unless [`table`](SqlJournal::table) says otherwise.
const TABLE: &str = "idempotency_journal";

/// How many expired rows one statement deletes.
const BATCH: u32 = 500;

/// Keeps responses in a table of your own database, so that [`Claim::commit`](crate::Claim::commit) can write each
/// response within the transaction that it belongs to.
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
/// Give it a pool of the *primary*. A replica cannot be written. If it lags behind, it does not have the last commits, and
/// a handler would run again.
///
/// # The table
///
/// [`migrate`](Self::migrate) creates it, or you run the text of [`schema`](Self::schema) by hand. In Postgres:
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
/// Only commits, the clean-up and migrations write to it. Heartbeats do not. A row is valid until `expires_at`, by the
/// database's clock: the attribute's `ttl` after it was inserted.
///
/// # When the database does not answer
///
/// A commit fails with an error, and the transaction is rolled back. If a handler ended without a commit, or an earlier
/// attempt died, the client gets 503 `journal-unavailable` and nothing is stored. The retry is told that the attempt
/// before it died. A first attempt does not read the journal before it runs.
#[derive(Clone)]
pub struct SqlJournal {
    pub(super) pool: DatabasePool,
    pub(super) schema: Schema,
    pub(super) timeout: Duration,
    pub(super) readiness: Readiness,
}

/// The journal's table could not be created or cleaned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The database refused, or could not be reached.
    #[error("the journal's database cannot be reached, or refused the statement")]
    Database(#[source] sqlx::Error),
}

impl SqlJournal {
    /// A journal in SQLite, in the database of this pool.
    ///
    /// Begin writing transactions with `BEGIN IMMEDIATE` (`pool.begin_with(…)`). SQLite refuses a transaction that
    /// reads first and writes later, if another one wrote in between.
    #[cfg(feature = "sqlx-sqlite")]
    #[must_use]
    pub fn sqlite(pool: Pool<sqlx::Sqlite>) -> Self {
        Self::over(DatabasePool::Sqlite(pool), schema::sqlite(&default_table()))
    }

    /// A journal in Postgres, in the database of this pool. Every isolation level works.
    ///
    /// If a process stops in the middle of its transaction, it holds the key's row. Later attempts then fail with
    /// [`CommitError::Timeout`](crate::CommitError::Timeout) until that transaction has ended. Set
    /// `idle_in_transaction_session_timeout` in Postgres, for example to one minute: it ends such a transaction.
    #[cfg(feature = "sqlx-postgres")]
    #[must_use]
    pub fn postgres(pool: Pool<sqlx::Postgres>) -> Self {
        Self::over(DatabasePool::Postgres(pool), schema::postgres(&default_table()))
    }

    fn over(pool: DatabasePool, schema: Schema) -> Self {
        Self { pool, schema, timeout: Duration::from_secs(5), readiness: Readiness::default() }
    }

    /// The table's name, or `schema.name`. Default: `idempotency_journal`. The name is quoted, so upper and lower case
    /// matter.
    ///
    /// # Errors
    /// If a part of the name has other characters than ASCII letters, digits and `_`, or more than 48.
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

    /// The time limit of one question to the database (an insertion, a COMMIT, a look-up). Waiting for a connection is
    /// included. Default: 5 s. The most is one hour.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = config::time_limit(timeout);
        self
    }

    /// Creates the table, or brings it to the layout of this version. It may be called at every start, by many
    /// processes at the same time.
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

    /// The statement that records a response, for those who do not use sqlx. Its six parameters are the fields of
    /// [`JournalEntry`](crate::journal::JournalEntry), in order. It must change exactly one row. If it changes none, roll back.
    #[must_use]
    pub fn insert_statement(&self) -> &str {
        &self.schema.insert
    }

    /// Deletes up to `most` expired rows, the oldest first. Returns how many were deleted.
    ///
    /// # Errors
    /// If the database cannot be reached, or refuses.
    pub async fn reap(&self, most: u32) -> Result<u64, JournalError> {
        self.readiness.cleaned();
        self.pool.reap(&self.schema, most).await.map_err(JournalError::Database)
    }

    /// Deletes expired rows in batches of 500 until none is left, and again after each `pause`. Spawn it as a task; it
    /// never ends. Errors are logged. Any number of processes may do it at the same time.
    ///
    /// Without it the table only grows. So a process that neither spawns this nor calls [`reap`](Self::reap) logs a
    /// warning at its first request with a key. [`cleaned_elsewhere`](Self::cleaned_elsewhere) turns that warning off.
    pub fn keep_small(self, pause: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.readiness.cleaned();
        async move {
            loop {
                match self.reap(BATCH).await {
                    Ok(reaped) if reaped >= BATCH.into() => tokio::task::yield_now().await,
                    Ok(_) => sleep(pause).await,
                    Err(error) => {
                        clean_up::failed("idempotency_journal", &chain(&error));
                        sleep(pause).await;
                    }
                }
            }
        }
    }

    /// States that another process or a job of the database deletes expired rows. This process then logs no warning.
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
