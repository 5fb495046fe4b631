//! A `SqlStore` of a test's own, in each of the databases.

use std::time::Duration;

use idempotent_runtime::SqlStore;
use sqlx::{
    PgPool, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};
use tempfile::TempDir;

use crate::postgres::Postgres;

/// A busy machine is no outage.
const PATIENCE: Duration = Duration::from_secs(30);

/// A table of the test's own on the server that the binary's tests share.
pub async fn on_postgres() -> SqlStore {
    let pool = postgres_pool(&Postgres::shared().url(), 10).await;
    let store = SqlStore::postgres(pool).table(&format!("t{}", uuid::Uuid::new_v4().simple())).expect("a name");
    store.migrate().await.expect("a table");
    store
}

/// Connections to a Postgres.
pub async fn postgres_pool(url: &str, connections: u32) -> PgPool {
    let options = PgPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
    options.connect(url).await.expect("a Postgres")
}

/// A file in a directory that is gone with the test.
pub async fn on_sqlite() -> (SqlStore, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let pool = sqlite_pool(&format!("sqlite://{}", directory.path().join("keys.db").display())).await;
    let store = SqlStore::sqlite(pool);
    store.migrate().await.expect("a table");
    (store, directory)
}

/// Connections to a file, which is made if it is not there.
pub async fn sqlite_pool(url: &str) -> SqlitePool {
    let options: SqliteConnectOptions = url.parse().expect("a URL of SQLite");
    // No test cuts the power.
    let options = options.create_if_missing(true).busy_timeout(PATIENCE).synchronous(SqliteSynchronous::Off);
    SqlitePoolOptions::new().max_connections(5).acquire_timeout(PATIENCE).connect_with(options).await.expect("a file")
}
