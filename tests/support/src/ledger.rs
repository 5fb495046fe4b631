//! Payments in SQLite or Postgres. Their table has no unique constraint, so only a commit with its key prevents a second row.

use std::time::Duration;

use idempotent_runtime::SqlStore;
use sqlx::{
    PgPool, Row, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// A busy machine does not look like an outage.
const PATIENCE: Duration = Duration::from_secs(60);

/// The database of a service.
#[derive(Clone)]
pub enum Ledger {
    /// A file.
    Sqlite(SqlitePool),
    /// A server.
    Postgres(PgPool),
}

impl Ledger {
    /// Connects to either database, and makes the tables.
    pub async fn connect(url: &str) -> Self {
        if url.starts_with("postgres") {
            let pool = PgPoolOptions::new()
                .max_connections(10)
                .acquire_timeout(PATIENCE)
                .connect(url)
                .await
                .expect("a Postgres");
            Self::of_postgres(pool).await
        } else {
            let options: SqliteConnectOptions = url.parse().expect("a URL of SQLite");
            let options = options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal).busy_timeout(PATIENCE);
            // No test simulates a loss of power. A process that is killed loses nothing.
            let options = options.synchronous(SqliteSynchronous::Off);
            let pool = SqlitePoolOptions::new().max_connections(10).acquire_timeout(PATIENCE).connect_with(options);
            let pool = pool.await.expect("a file");
            Self::of_sqlite(pool).await
        }
    }

    /// Makes the tables.
    pub async fn of_postgres(pool: PgPool) -> Self {
        let create = "SELECT pg_advisory_xact_lock(1); CREATE TABLE IF NOT EXISTS payments (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, reference text NOT NULL, amount bigint NOT NULL)";
        sqlx::raw_sql(create).execute(&pool).await.expect("a table");
        let ledger = Self::Postgres(pool);
        ledger.store().migrate().await.expect("a store");
        ledger
    }

    /// Makes the tables.
    pub async fn of_sqlite(pool: SqlitePool) -> Self {
        let create = "CREATE TABLE IF NOT EXISTS payments (
            id INTEGER PRIMARY KEY, reference TEXT NOT NULL, amount INTEGER NOT NULL)";
        sqlx::raw_sql(create).execute(&pool).await.expect("a table");
        let ledger = Self::Sqlite(pool);
        ledger.store().migrate().await.expect("a store");
        ledger
    }

    /// A store in the same database, for claims and for commits.
    pub fn store(&self) -> SqlStore {
        match self {
            Self::Sqlite(pool) => SqlStore::sqlite(pool.clone()),
            Self::Postgres(pool) => SqlStore::postgres(pool.clone()),
        }
    }

    /// The number of payments with a reference.
    pub async fn rows(&self, reference: &str) -> i64 {
        let count = "SELECT COUNT(*) FROM payments WHERE reference = $1";
        match self {
            Self::Sqlite(pool) => sqlx::query(count).bind(reference).fetch_one(pool).await.expect("a count").get(0),
            Self::Postgres(pool) => sqlx::query(count).bind(reference).fetch_one(pool).await.expect("a count").get(0),
        }
    }

    /// How many payments there are beyond the first of each reference.
    pub async fn duplicates(&self) -> i64 {
        self.number("SELECT COUNT(*) - COUNT(DISTINCT reference) FROM payments").await
    }

    /// The one number that a query returns.
    pub async fn number(&self, query: &str) -> i64 {
        match self {
            Self::Sqlite(pool) => sqlx::query(query).fetch_one(pool).await.expect("a number").get(0),
            Self::Postgres(pool) => sqlx::query(query).fetch_one(pool).await.expect("a number").get(0),
        }
    }

    /// Runs statements.
    pub async fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.expect("the statements")),
            Self::Postgres(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.expect("the statements")),
        }
    }
}
