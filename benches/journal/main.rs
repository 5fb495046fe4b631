//! Measures the cost of a journal: `cargo bench -p idempotent-workspace --bench journal`.
//!
//! Makes one payment in one transaction, in this process, in three ways: the transaction alone; with the usual
//! hand-written row (`INSERT … ON CONFLICT DO NOTHING` of key, fingerprint and response, and a query when the row
//! exists already); and with our journal. The three ways take turns. First requests and retries are measured. SQLite
//! uses a file and its default durability, Postgres has `fsync` on.

#![allow(clippy::missing_panics_doc, clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::indexing_slicing, missing_docs)]

mod handlers;

use std::time::{Duration, Instant};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use idempotent_runtime::{Idempotency, MemoryStore, SqlStore};
use tower::ServiceExt;

use handlers::{App, routes_postgres, routes_sqlite};
use support::postgres::Postgres;

const WAYS: [(&str, &str); 3] = [("/plain", "transaction alone"), ("/by-hand", "written by hand"), ("/ours", "ours")];
const ROUNDS: usize = 20;
const REQUESTS: usize = 100;

#[tokio::main]
async fn main() {
    println!("| database | request | {} |", WAYS.map(|(_, name)| name).join(" | "));
    println!("|---|---|---|---|---|");

    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("bench.db").display());
    let options: sqlx::sqlite::SqliteConnectOptions = url.parse().unwrap();
    let options = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let db = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let journal = SqlStore::sqlite(db.clone());
    journal.migrate().await.unwrap();
    let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(journal).build();
    sqlx::raw_sql(&handlers::tables("INTEGER PRIMARY KEY", "BLOB")).execute(&db).await.unwrap();
    measure("SQLite", &routes_sqlite(App { db, idempotency })).await;

    let server = Postgres::start_with(&[]);
    let db = sqlx::PgPool::connect(&server.url()).await.unwrap();
    let journal = SqlStore::postgres(db.clone());
    journal.migrate().await.unwrap();
    let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(journal).build();
    let tables = handlers::tables("bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "bytea");
    sqlx::raw_sql(&tables).execute(&db).await.unwrap();
    measure("Postgres", &routes_postgres(App { db, idempotency })).await;
}

async fn measure(database: &str, routes: &Router) {
    let mut first: [Vec<Duration>; 3] = Default::default();
    let mut again: [Vec<Duration>; 3] = Default::default();
    for round in 0..=ROUNDS {
        for (way, (path, _)) in WAYS.iter().enumerate() {
            for request in 0..REQUESTS {
                let key = format!("{round}-{request}");
                let (one, two) = (ask(routes, path, &key).await, ask(routes, path, &key).await);
                // The first round warms up.
                if round > 0 {
                    first[way].push(one);
                    again[way].push(two);
                }
            }
        }
    }
    let row = |what: &str, times: [Vec<Duration>; 3]| {
        let cells = times.map(median).map(|time| format!("{:.0} µs", time.as_secs_f64() * 1e6));
        println!("| {database} | {what} | {} |", cells.join(" | "));
    };
    row("first", first);
    row("retry", again);
}

async fn ask(routes: &Router, path: &str, key: &str) -> Duration {
    let request = Request::post(path).header("idempotency-key", key).header("content-type", "application/json");
    let request = request.body(Body::from(r#"{"account":"alice","amount":100}"#)).unwrap();
    let start = Instant::now();
    let response = routes.clone().oneshot(request).await.unwrap();
    let status = response.status();
    to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let took = start.elapsed();
    assert_eq!(status, StatusCode::CREATED, "{path}");
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
