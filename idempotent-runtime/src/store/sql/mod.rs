//! [`SqlStore`]: keeps claims and responses in a table of the user's database.

mod cleaner;
mod database;
pub(crate) mod dialect;
mod error;
mod pool;
#[cfg(feature = "sqlx-postgres")]
mod pooler;
mod register;
mod row;
mod schema;
mod statements;
mod table;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use self::{cleaner::Cleaner, database::Database, table::Table};
pub use self::{dialect::CommitDatabase, table::TableNameError};
pub(crate) use self::{pool::DatabasePool, row::digest, schema::Schema};
use super::{Expect, Put, Seen, Store, StoreError, StoreKey, Swapped};
use crate::config;

/// The table's name unless [`table`](SqlStore::table) says otherwise.
const TABLE: &str = "idempotency_keys";

/// The pause between two clean-ups.
const DELETE_EXPIRED_EVERY: Duration = Duration::from_secs(30);

/// Keeps claims and responses in a table of your own database. For services that have a database and no Redis.
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
/// A claim, a completion and a replay take one statement each. Whether a time has passed is decided by the database's
/// clock. Every change of a row compares the token of the attempt.
///
/// # The table
///
/// [`migrate`](Self::migrate) creates it, or you run the text of [`schema`](Self::schema) by hand. In Postgres:
///
/// ```sql
/// CREATE TABLE IF NOT EXISTS "idempotency_keys_version" (version bigint PRIMARY KEY);
/// CREATE TABLE IF NOT EXISTS "idempotency_keys" (
///     key         bytea       NOT NULL PRIMARY KEY, -- SHA-256 of the store key
///     fingerprint bytea       NOT NULL,             -- BLAKE3 of the request
///     token       bytea       NOT NULL,             -- of the attempt that has the key
///     change      bigint      NOT NULL,             -- the attempt's own number of this write
///     fence       bigint      NOT NULL,
///     state       bigint      NOT NULL,             -- 0 running, 1 running after one that died, 2 finished, 3 freed
///     lease       bigint      NOT NULL,             -- in milliseconds: it ends at expires_at - kept + lease
///     kept        bigint      NOT NULL,             -- in milliseconds: how long the row was kept when it was written
///     expires_at  timestamptz NOT NULL CHECK (isfinite(expires_at)),
///     steps       bytea,                            -- while it runs
///     record      bytea                             -- when it is finished: the response
/// );
/// CREATE INDEX IF NOT EXISTS "idempotency_keys_expires_at" ON "idempotency_keys" (expires_at);
/// INSERT INTO "idempotency_keys_version" (version) VALUES (2) ON CONFLICT DO NOTHING;
/// ```
///
/// # Exactly once
///
/// A handler that answers by [`Claim::commit`](crate::Claim::commit) writes the response into the row of its claim,
/// within its own transaction. After a crash, the database has both or neither. If another attempt has taken the key
/// over, the transaction is rolled back. The transaction must be in the same database. Beside another store, give this
/// one to [`commit_to`](crate::IdempotencyBuilder::commit_to): then it takes only the committed responses.
///
/// - From that statement until COMMIT the transaction holds the row, so the key counts as running and is not taken
///   over; with `takeover = "refuse"` it counts as died once the lease is over. If you use [`Claim::record`](crate::Claim::record), commit soon after it. Set
///   `idle_in_transaction_session_timeout` in Postgres, for example to one minute: it ends a transaction whose process
///   no longer works on it.
/// - At `REPEATABLE READ` and `SERIALIZABLE`, a heartbeat during the transaction makes the commit fail with SQLSTATE
///   40001. Run the transaction again, or choose a `lease` of more than three times the transaction's duration.
/// - In SQLite, begin with `BEGIN IMMEDIATE`. SQLite refuses a transaction that reads first and writes later, if a
///   claim was written in between.
///
/// # What is readable in the table
///
/// The table has only a digest of the client's key and scope. It has the response and the values of steps unencrypted,
/// unless the service uses [`encrypt`](crate::IdempotencyBuilder::encrypt).
///
/// Expired rows are deleted in the background, 500 at a time, every 30 seconds: see
/// [`delete_expired_every`](Self::delete_expired_every).
///
/// # When the database does not answer
///
/// As with every store, a claim gets 503, and a response that cannot be stored is sent and stored in the background. A
/// missing table or permission does not count as an outage: it is logged with its cure, and no handler runs.
#[derive(Clone)]
pub struct SqlStore {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    schema: Schema,
    cleaner: Option<Cleaner>,
    settings: Settings,
}

/// What to do about a pooler in transaction mode.
pub(super) const LOST_STATEMENTS: &str = "a pooler between the service and Postgres loses prepared statements: in \
    PgBouncer 1.21 or later set max_prepared_statements above 0, or use pool_mode = session";

/// The store's table could not be created or cleaned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlStoreError {
    /// The database refused, or could not be reached.
    #[error("the store's database cannot be reached, or refused the statement")]
    Database(#[source] sqlx::Error),
    /// A pooler between the service and Postgres loses prepared statements.
    #[error("{LOST_STATEMENTS}")]
    Pooler(#[source] sqlx::Error),
}

impl SqlStore {
    /// A store in Postgres, in the database of this pool.
    ///
    /// Use the *primary*. On a standby nothing can be claimed, and a replica that lags behind would miss responses.
    ///
    /// The pool needs spare connections: if a claim gets no connection within the store timeout, it is refused. Leases are
    /// renewed over a connection beside the pool, which is opened for the first renewal. sqlx
    /// checks a connection each time it is taken from the pool, which costs one more round trip.
    /// `PgPoolOptions::test_before_acquire(false)` switches that off.
    #[cfg(feature = "sqlx-postgres")]
    #[must_use]
    pub fn postgres(pool: sqlx::PgPool) -> Self {
        Self::new(Database::new(DatabasePool::Postgres(pool)), Settings::default())
    }

    /// A store in SQLite, in the database of this pool. For one machine; a file survives a restart.
    ///
    /// SQLite has one writer at a time. The claim of a new key waits for the transaction that is writing, within the
    /// pool's `busy_timeout` and the store timeout. Replays, and duplicates of a running key, do not wait. So keep
    /// writing transactions short. Each connection to a database in memory opens its own database, so give its
    /// pool one connection.
    #[cfg(feature = "sqlx-sqlite")]
    #[must_use]
    pub fn sqlite(pool: sqlx::SqlitePool) -> Self {
        Self::new(Database::new(DatabasePool::Sqlite(pool)), Settings::default())
    }

    fn new(database: Database, settings: Settings) -> Self {
        let schema = match database.pool() {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(_) => Schema::sqlite(&settings.table),
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(_) => Schema::postgres(&settings.table),
        };
        let cleaner = settings.delete_expired_every.map(Cleaner::new);
        Self { shared: Arc::new(Shared { database, schema, cleaner, settings }) }
    }

    /// The same pool with other settings.
    fn with(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        Self::new(Database::new(self.pool().clone()), settings)
    }

    pub(crate) fn pool(&self) -> &DatabasePool {
        self.shared.database.pool()
    }

    /// The table's name, or `schema.name`. Default: `idempotency_keys`. The name is quoted, so upper and lower case
    /// matter.
    ///
    /// # Errors
    /// If a part of the name has other characters than ASCII letters, digits and `_`, or more than 48.
    pub fn table(self, name: &str) -> Result<Self, TableNameError> {
        let table = Table::parse(name)?;
        Ok(self.with(|settings| settings.table = table))
    }

    /// How long a call keeps trying to get a row that another transaction has locked. Default: 5 s.
    ///
    /// A claim does not wait that long: a key whose row is locked counts as running. The limit for a whole call is the
    /// [`store_timeout`](crate::IdempotencyBuilder::store_timeout).
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.timeout = config::time_limit(timeout))
    }

    /// The pause between two clean-ups of expired rows. Default: 30 s.
    ///
    /// The clean-up starts with the first call and ends when the last clone of the store is dropped. It deletes 500
    /// rows by one statement, pauses for 20 ms while there are more, and skips locked rows. Any number of processes may
    /// do it at the same time.
    #[must_use]
    pub fn delete_expired_every(self, pause: Duration) -> Self {
        self.with(|settings| settings.delete_expired_every = Some(pause))
    }

    /// Switches the clean-up off. Call [`delete_expired`](Self::delete_expired) yourself, or delete rows whose `expires_at` is
    /// past. Expired rows have no effect in any case.
    #[must_use]
    pub fn delete_expired_by_hand(self) -> Self {
        self.with(|settings| settings.delete_expired_every = None)
    }

    /// Creates the table, or brings it to the layout of this version. It may be called at every start, by many
    /// processes at the same time. In SQLite it also sets `journal_mode = WAL`, so that readers do not wait for the
    /// writer.
    ///
    /// # Errors
    /// If the database cannot be reached, or the role may not create tables. Also if a pooler in between loses prepared
    /// statements, which calls need later.
    pub async fn migrate(&self) -> Result<(), SqlStoreError> {
        match self.pool() {
            #[cfg(feature = "sqlx-sqlite")]
            DatabasePool::Sqlite(pool) => keep_a_write_ahead_log(pool).await,
            #[cfg(feature = "sqlx-postgres")]
            DatabasePool::Postgres(pool) => {
                if let Some(error) = pooler::loses_statements(pool.clone()).await {
                    return Err(SqlStoreError::Pooler(error));
                }
            }
        }
        self.pool().migrate(&self.shared.schema).await.map_err(SqlStoreError::Database)
    }

    /// This store, after [`migrate`](Self::migrate).
    ///
    /// ```
    /// # #[cfg(feature = "sqlx-sqlite")]
    /// # async fn start(db: sqlx::SqlitePool) -> Result<(), Box<dyn std::error::Error>> {
    /// use idempotent_runtime::{Idempotency, MemoryStore, SqlStore};
    ///
    /// let commits = SqlStore::sqlite(db).migrated().await?;
    /// let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(commits).build();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`migrate`](Self::migrate).
    pub async fn migrated(self) -> Result<Self, SqlStoreError> {
        self.migrate().await?;
        Ok(self)
    }

    /// The SQL that [`migrate`](Self::migrate) runs on an empty database, for those who keep their migrations in files.
    #[must_use]
    pub fn schema(&self) -> String {
        self.shared.schema.to_string()
    }

    /// Deletes up to `most` expired rows, the oldest first. Returns how many were deleted.
    ///
    /// # Errors
    /// If the database cannot be reached, or refuses.
    pub async fn delete_expired(&self, most: u32) -> Result<u64, SqlStoreError> {
        self.pool().delete_expired(&self.shared.schema.delete_expired, most).await.map_err(SqlStoreError::Database)
    }

    /// The statement that stores a response in a transaction, for those who do not use sqlx. Its six parameters are the
    /// fields of [`CommitEntry`](crate::CommitEntry), in order. It must change exactly one row. If it
    /// changes none, another attempt has the key: roll back.
    #[must_use]
    pub fn commit_statement(&self) -> &str {
        &self.shared.schema.commit
    }

    /// What is under a key, or the error of the database.
    pub(crate) async fn seen(&self, key: &StoreKey) -> Result<Seen, sqlx::Error> {
        let key = [dialect::Parameter::Slice(&digest(key))];
        Ok(row::seen(self.pool().row(&self.shared.schema.read, &key).await??))
    }

    /// The statements that run over a handler's own connection.
    pub(crate) fn statements(&self) -> &Schema {
        &self.shared.schema
    }

    pub(crate) fn row_timeout(&self) -> Duration {
        self.shared.settings.timeout
    }

    /// Starts the deletion of expired rows, unless it has started.
    pub(crate) fn start_deleting(&self) {
        if let Some(cleaner) = &self.shared.cleaner {
            cleaner.start(self.pool(), &self.shared.schema);
        }
    }

    fn started(&self) -> &Shared {
        self.start_deleting();
        &self.shared
    }
}

impl Store for SqlStore {
    async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        self.started().read(key).await
    }

    async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        self.started().swap(key, expect, put).await
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        self.started().now().await
    }

    // Expired rows are left to the first store.
    fn for_heartbeats(&self) -> Option<Self> {
        let settings = Settings { delete_expired_every: None, ..self.shared.settings.clone() };
        Some(Self::new(self.shared.database.for_heartbeats()?, settings))
    }
}

/// Switches SQLite to a write-ahead log. This fails while another process writes; the next start tries again.
#[cfg(feature = "sqlx-sqlite")]
async fn keep_a_write_ahead_log(pool: &sqlx::SqlitePool) {
    if let Err(error) = sqlx::query("PRAGMA journal_mode = WAL").execute(pool).await {
        let error = crate::error_chain::chain(&error);
        crate::telemetry::log!(NO_WRITE_AHEAD_LOG, error = %error);
    }
}

#[derive(Clone)]
struct Settings {
    table: Table,
    timeout: Duration,
    delete_expired_every: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        #[allow(clippy::expect_used)] // a constant, and tested
        let table = Table::parse(TABLE).expect("the default table has a name that is allowed");
        Self { table, timeout: Duration::from_secs(5), delete_expired_every: Some(DELETE_EXPIRED_EVERY) }
    }
}

/// Prints no address and no credential of the database.
impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("database", &self.shared.schema.kind).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "sqlx-postgres"))]
mod tests {
    use super::*;
    use crate::{
        protocol::{Look, Lookup},
        store::handle::run,
    };

    /// A request allocates it. sqlx's futures are large, and one that is moved while it is made counts twice.
    #[tokio::test]
    async fn the_future_of_an_operation_is_small() {
        let pool = sqlx::PgPool::connect_lazy("postgres://localhost/nowhere").unwrap();
        let (store, key) = (SqlStore::postgres(pool), StoreKey::new("key"));
        let size = size_of_val(&run::<_, _, Lookup>(&store, Look(&key)));
        assert!(size <= 4096, "{size} bytes");
    }
}
