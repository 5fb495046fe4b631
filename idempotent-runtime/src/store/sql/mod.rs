//! [`SqlStore`]: claims in a table of the user's database.

mod calls;
mod cleaner;
mod database;
mod error;
mod parameters;
mod present;
mod protocol;
mod statements;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;

pub(crate) use self::present::Finished;
use self::{cleaner::Cleaner, database::Database, protocol::Protocol, statements::Statements};
use super::{Attempt, StoreError, StoreKey};
use crate::sql::{
    pool::DatabasePool,
    schema::Schema,
    table::{Table, TableNameError},
};

/// The table's name unless [`table`](SqlStore::table) says otherwise.
const TABLE: &str = "idempotency_keys";

/// So long after a clean-up the next one begins.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(30);

/// Claims and responses in a table of your own database: for services that have a database and no Redis.
///
/// ```
/// # #[cfg(feature = "sqlx-sqlite")]
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// use idempotent_runtime::{Idempotency, SqlStore};
///
/// let db = sqlx::SqlitePool::connect("sqlite://payments.db?mode=rwc").await?;
/// let store = SqlStore::sqlite(db.clone());
/// store.migrate().await?;
/// let idempotency = Idempotency::builder(store).namespace("payments").build();
/// # Ok(())
/// # }
/// ```
///
/// A claim is one statement, a completion another one, a replay one. Every decision on time is made by the database's
/// clock, and every change of a row compares the token of the attempt.
///
/// # The table
///
/// [`migrate`](Self::migrate) makes it, or you run the text of [`schema`](Self::schema) by hand. In Postgres:
///
/// ```sql
/// CREATE TABLE IF NOT EXISTS "idempotency_keys_version" (version bigint PRIMARY KEY);
/// CREATE TABLE IF NOT EXISTS "idempotency_keys" (
///     key         bytea       NOT NULL PRIMARY KEY, -- SHA-256 of the store key
///     fingerprint bytea       NOT NULL,             -- BLAKE3 of the request
///     token       bytea       NOT NULL,             -- of the attempt that has the key
///     fence       bigint      NOT NULL,
///     state       bigint      NOT NULL,             -- 0 running, 1 running after one that died, 2 finished
///     lease_ends  timestamptz,                      -- while it runs
///     expires_at  timestamptz NOT NULL CHECK (isfinite(expires_at)),
///     steps       bytea,                            -- while it runs
///     record      bytea                             -- when it is finished: the response
/// );
/// CREATE INDEX IF NOT EXISTS "idempotency_keys_expires_at" ON "idempotency_keys" (expires_at);
/// INSERT INTO "idempotency_keys_version" (version) VALUES (1) ON CONFLICT DO NOTHING;
/// ```
///
/// # Exactly once
///
/// A handler that answers by [`Claim::commit`](crate::Claim::commit) puts the response into the row of its claim, in its own
/// transaction: both are there after a crash or neither, and an attempt that was taken over is rolled back. No journal is
/// needed. The transaction has to be in the same database.
///
/// - While it holds the row, from that statement to COMMIT, the key counts as running and is not taken over. With
///   [`Claim::record`](crate::Claim::record) keep the two close together. Postgres ends a transaction that stands still when
///   `idle_in_transaction_session_timeout` says so; a minute is a good value.
/// - At `REPEATABLE READ` and `SERIALIZABLE` a heartbeat that falls into the transaction makes the commit fail with SQLSTATE
///   40001. Run the transaction again, or take a `lease` of more than three times what it lasts.
/// - In SQLite begin with `BEGIN IMMEDIATE`: a transaction that reads first and writes then is refused when a claim was
///   written in between.
///
/// # What stands in plain
///
/// Neither the client's key nor its scope stands there, only the digest of both. The response does, and the values of
/// steps: in plain bytes.
///
/// Expired rows are deleted in the background, 500 at a time, every 30 seconds; see
/// [`clean_up_every`](Self::clean_up_every).
///
/// # When the database does not answer
///
/// As with every store: a claim is refused with 503, and a response whose completion failed is sent and stored behind it.
/// A missing table or permission is no outage; it is logged with what to do, and nothing runs.
#[derive(Clone)]
pub struct SqlStore {
    shared: Arc<Shared>,
}

struct Shared {
    protocol: Protocol,
    schema: Schema,
    cleaner: Option<Cleaner>,
    settings: Settings,
}

/// The store's table could not be made or cleaned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlStoreError {
    /// The database refused, or could not be reached.
    #[error("the store's database refused, or cannot be reached")]
    Database(#[source] sqlx::Error),
}

impl SqlStore {
    /// A store in Postgres, in the database of this pool.
    ///
    /// Take the *primary*: on a standby nothing can be claimed, and a reader that lags behind would not see a response that
    /// is to be replayed.
    ///
    /// Have connections to spare: a claim that gets none within the store timeout is refused. sqlx asks a server whether a
    /// connection is still good each time that the pool lends it, which is one more round trip; with
    /// `PgPoolOptions::test_before_acquire(false)` it does not.
    #[cfg(feature = "sqlx-postgres")]
    #[must_use]
    pub fn postgres(pool: sqlx::PgPool) -> Self {
        Self::new(DatabasePool::Postgres(pool), Settings::default())
    }

    /// A store in SQLite, in the database of this pool: a file that survives a restart, for one machine.
    ///
    /// SQLite has one writer at a time. A claim of a new key waits for the transaction that is writing, for as long as the
    /// pool's `busy_timeout` says and the store timeout lets it; replays and duplicates of a key that is running do not
    /// wait. Keep transactions that write short. A database in memory is a different one for each connection: give its
    /// pool one connection.
    #[cfg(feature = "sqlx-sqlite")]
    #[must_use]
    pub fn sqlite(pool: sqlx::SqlitePool) -> Self {
        Self::new(DatabasePool::Sqlite(pool), Settings::default())
    }

    fn new(pool: DatabasePool, settings: Settings) -> Self {
        let (schema, statements): (Schema, Statements) = match pool {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(_) => statements::sqlite(&settings.table),
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(_) => statements::postgres(&settings.table),
        };
        let (kind, timeout, last_fence) = (schema.kind, settings.timeout, AtomicU64::new(0));
        let protocol = Protocol { database: Database::new(pool), statements, kind, timeout, last_fence };
        let cleaner = settings.clean_up_every.map(Cleaner::new);
        Self { shared: Arc::new(Shared { protocol, schema, cleaner, settings }) }
    }

    /// The same pool with other settings.
    fn with(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        Self::new(self.pool().clone(), settings)
    }

    fn pool(&self) -> &DatabasePool {
        &self.shared.protocol.database.pool
    }

    /// The table's name, or `schema.name`. Default: `idempotency_keys`. It is quoted, so its case counts.
    ///
    /// # Errors
    /// If it is anything but ASCII letters, digits and `_`, 48 of them at the most in each part.
    pub fn table(self, name: &str) -> Result<Self, TableNameError> {
        let table = Table::parse(name)?;
        Ok(self.with(|settings| settings.table = table))
    }

    /// For how long a call asks again for a row that another transaction has locked. Default: 5 s.
    ///
    /// A claim does not wait so long: a key whose row is locked counts as running. How long a call may take in all is
    /// [`store_timeout`](crate::IdempotencyBuilder::store_timeout)'s to say.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.timeout = timeout)
    }

    /// The pause after which expired rows are looked for again. Default: 30 s.
    ///
    /// The work begins with the first call and ends with the last clone of the store. It deletes 500 rows by one
    /// statement, pauses for 20 ms while there are more, and passes over rows that are locked; any number of processes may
    /// do it at once.
    #[must_use]
    pub fn clean_up_every(self, pause: Duration) -> Self {
        self.with(|settings| settings.clean_up_every = Some(pause))
    }

    /// Leaves expired rows to you: call [`clean_up`](Self::clean_up), or delete where `expires_at` is past. They count for
    /// nothing all the same.
    #[must_use]
    pub fn clean_up_by_hand(self) -> Self {
        self.with(|settings| settings.clean_up_every = None)
    }

    /// Makes the table, or brings it to the layout of this version. Safe to call at every start, from many processes at
    /// once. SQLite is told to keep a write-ahead log (`journal_mode = WAL`), in which readers do not wait for the writer.
    ///
    /// # Errors
    /// If the database cannot be reached, or the role may not create tables.
    pub async fn migrate(&self) -> Result<(), SqlStoreError> {
        match self.pool() {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(pool) => keep_a_write_ahead_log(pool).await,
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(_) => {}
        }
        self.pool().migrate(&self.shared.schema).await.map_err(SqlStoreError::Database)
    }

    /// The SQL that [`migrate`](Self::migrate) runs on an empty database, for those who keep their migrations in files.
    #[must_use]
    pub fn schema(&self) -> String {
        self.shared.schema.to_string()
    }

    /// Deletes up to `most` expired rows, the oldest first, and tells how many.
    ///
    /// # Errors
    /// If the database does not do it.
    pub async fn clean_up(&self, most: u32) -> Result<u64, SqlStoreError> {
        self.pool().reap(&self.shared.schema, most).await.map_err(SqlStoreError::Database)
    }

    /// The statement that stores a response in a transaction, for those who do not use sqlx: its six parameters are the
    /// fields of [`JournalEntry`](crate::journal::JournalEntry) in their order. It has to change exactly one row; if it
    /// changes none, another attempt has the key: roll back.
    #[must_use]
    pub fn commit_statement(&self) -> &str {
        &self.shared.schema.insert
    }

    /// The response of a key.
    pub(crate) async fn finished(&self, key: &StoreKey) -> Result<Option<Finished>, StoreError> {
        self.protocol().finished(key).await
    }

    /// The response of a key, when no transaction that has changed its row is open any more.
    pub(crate) async fn settle(&self, key: &StoreKey) -> Result<Option<Finished>, StoreError> {
        self.protocol().settle(key).await
    }

    /// The steps of an attempt that has the key, when no transaction that has changed its row is open any more.
    pub(crate) async fn settle_steps(&self, attempt: &Attempt) -> Result<Option<Bytes>, StoreError> {
        self.protocol().settle_steps(attempt).await
    }

    pub(crate) fn parts(&self) -> (&Schema, Duration) {
        (&self.shared.schema, self.shared.settings.timeout)
    }

    /// What every call goes through.
    fn protocol(&self) -> &Protocol {
        let Shared { protocol, schema, cleaner, .. } = &*self.shared;
        if let Some(cleaner) = cleaner {
            cleaner.start(&protocol.database.pool, schema);
        }
        protocol
    }
}

/// Another process that is writing may keep it from being done; then the next start does it.
#[cfg(feature = "sqlx-sqlite")]
async fn keep_a_write_ahead_log(pool: &sqlx::SqlitePool) {
    if let Err(error) = sqlx::query("PRAGMA journal_mode = WAL").execute(pool).await {
        let error = crate::error_chain::chain(&error);
        tracing::warn!(error = %error, "SQLite does not keep a write-ahead log now, so readers may have to wait");
    }
}

#[derive(Clone)]
struct Settings {
    table: Table,
    timeout: Duration,
    clean_up_every: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        #[allow(clippy::expect_used)] // a constant, and tested
        let table = Table::parse(TABLE).expect("the default table has a name that is allowed");
        Self { table, timeout: Duration::from_secs(5), clean_up_every: Some(CLEAN_UP_EVERY) }
    }
}

/// Shows no address and no credential of the database.
impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("database", &self.shared.schema.kind).finish_non_exhaustive()
    }
}
