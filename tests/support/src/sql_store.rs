//! A `SqlStore` for one test, in each of the databases.

use std::time::Duration;

use idempotent_runtime::SqlStore;
use sqlx::{
    PgPool, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};
use tempfile::TempDir;

use crate::{directory, postgres::Postgres};

/// The timeout is long, so that a busy machine does not look like an outage.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store with its own table, on the server that the tests of a binary share.
pub async fn on_postgres() -> SqlStore {
    let pool = postgres_pool(&Postgres::shared().url(), 10).await;
    let store = SqlStore::postgres(pool).table(&format!("t{}", uuid::Uuid::new_v4().simple())).expect("a name");
    store.migrate().await.expect("a table");
    store
}

/// A pool of connections to a Postgres.
pub async fn postgres_pool(url: &str, connections: u32) -> PgPool {
    let options = PgPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
    options.connect(url).await.expect("a Postgres")
}

/// A store in a file. The directory is removed with the test.
pub async fn on_sqlite() -> (SqlStore, TempDir) {
    let (store, _, directory) = on_sqlite_with_pool().await;
    (store, directory)
}

/// The same, with the pool for what a handler writes beside the store.
pub async fn on_sqlite_with_pool() -> (SqlStore, SqlitePool, TempDir) {
    let directory = directory::in_memory();
    let pool = sqlite_pool(&format!("sqlite://{}", directory.path().join("keys.db").display())).await;
    let store = SqlStore::sqlite(pool.clone());
    store.migrate().await.expect("a table");
    (store, pool, directory)
}

/// A pool of connections to a file, which is made if it does not exist.
pub async fn sqlite_pool(url: &str) -> SqlitePool {
    let options: SqliteConnectOptions = url.parse().expect("a URL of SQLite");
    // No test simulates a loss of power.
    let options = options.create_if_missing(true).busy_timeout(PATIENCE).synchronous(SqliteSynchronous::Off);
    SqlitePoolOptions::new().max_connections(5).acquire_timeout(PATIENCE).connect_with(options).await.expect("a file")
}
