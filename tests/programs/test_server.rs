//! A server in its own process, for tests that kill it, stop it, shift its clock or run it twice.
//!
//! `REDIS_URL` or `DATABASE_URL` (a Postgres or SQLite) says where its claims are. Without either they are in its
//! memory. `RUNS` is a file to which every execution adds a line that remains after the process. A handler runs for as
//! long as the file `HOLD` exists. The server listens on a free port and prints it. It ends when its input ends.

// It has no caller but the test that started it, so it panics on errors.
#![allow(clippy::unwrap_used)]

use std::{io::Write, path::PathBuf, process, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRef, State},
    http::StatusCode,
    routing::post,
};
use idempotent_runtime::{Claim, Idempotency, MemoryStore, SqlStore, idempotent};
use sqlx::{
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};
use support::redis_store::patient;
use tokio::net::TcpListener;

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    files: Arc<Files>,
}

struct Files {
    runs: PathBuf,
    hold: PathBuf,
}

impl Files {
    /// Records the execution, and returns when the file `HOLD` does not exist any more.
    async fn run(&self, claim: &Claim) -> (StatusCode, String) {
        let line = format!("{} {} {}\n", process::id(), claim.recovering(), claim.fence());
        // One write to a file opened for appending, so that lines of several processes do not mix.
        let mut runs = std::fs::OpenOptions::new().create(true).append(true).open(&self.runs).unwrap();
        runs.write_all(line.as_bytes()).unwrap();
        while self.hold.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (StatusCode::CREATED, process::id().to_string())
    }
}

#[idempotent(ttl = "1h", lease = "4s")]
async fn four_seconds(claim: Claim, State(files): State<Arc<Files>>) -> (StatusCode, String) {
    files.run(&claim).await
}

#[idempotent(ttl = "1h", lease = "4s", takeover = "refuse")]
async fn never_again(claim: Claim, State(files): State<Arc<Files>>) -> (StatusCode, String) {
    files.run(&claim).await
}

#[idempotent(ttl = "1h", lease = "30s", key = "uuidv7")]
async fn dated(claim: Claim, State(files): State<Arc<Files>>) -> (StatusCode, String) {
    files.run(&claim).await
}

async fn in_database(url: &str, patience: Duration) -> SqlStore {
    let store = if url.starts_with("postgres") {
        // A proxy cuts off the answer to a claim. Without this setting it would cut off the answer to a test of the
        // connection.
        let options = PgPoolOptions::new().acquire_timeout(patience).test_before_acquire(false);
        SqlStore::postgres(options.connect(url).await.unwrap()).delete_expired_by_hand()
    } else {
        let options: SqliteConnectOptions = url.parse().unwrap();
        // No test simulates a loss of power. A process that is killed loses nothing.
        let options = options.create_if_missing(true).busy_timeout(patience).synchronous(SqliteSynchronous::Off);
        SqlStore::sqlite(SqlitePoolOptions::new().acquire_timeout(patience).connect_with(options).await.unwrap())
    };
    store.migrate().await.unwrap();
    store
}

#[tokio::main]
async fn main() {
    let file = |name| PathBuf::from(std::env::var_os(name).unwrap());
    // The timeout is long, so that a busy machine does not look like an outage.
    let patience = Duration::from_secs(30);
    let settings = if let Ok(url) = std::env::var("DATABASE_URL") {
        Idempotency::builder(in_database(&url, patience).await)
    } else if let Ok(url) = std::env::var("REDIS_URL") {
        Idempotency::builder(patient().connect(&url).await.unwrap())
    } else {
        Idempotency::builder(MemoryStore::new())
    };
    let app = App {
        idempotency: settings.store_timeout(patience).build(),
        files: Arc::new(Files { runs: file("RUNS"), hold: file("HOLD") }),
    };
    let routes = Router::new()
        .route("/", post(four_seconds))
        .route("/never-again", post(never_again))
        .route("/dated", post(dated))
        .with_state(app);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The input ends with the test, however the test ends.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        process::exit(0);
    });
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, routes).await.unwrap();
}
