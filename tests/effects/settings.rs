//! What a service is set up with holds for its operations as for its handlers: encryption, limits, the database of
//! commits, metrics, and what people look up.

use std::{convert::Infallible, error::Error, fs, sync::atomic::Ordering::SeqCst, time::Duration};

use axum::{body::Body, http::Request};
use idempotent_runtime::{
    AdminRouter, Claim, EncryptionKeys, Idempotency, Inspection, MemoryStore, Outcome, RequestName, RunError, SqlStore,
    StepError, store::ForgetOutcome,
};
use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};
use support::{gate::Gate, observed::Observed, sql_store::sqlite_pool};
use tower::ServiceExt as _;

use super::Service;

async fn database() -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    sqlx::raw_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)").execute(&pool).await.unwrap();
    pool
}

async fn orders(pool: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(pool).await.unwrap()
}

const ORDER: &str = "INSERT INTO orders DEFAULT VALUES RETURNING id";

/// Orders in a step, and then fails or returns the order's number.
async fn order_in_a_step(pool: &SqlitePool, idempotency: &Idempotency, fails: bool) -> Result<Outcome<i64>, String> {
    let pool = pool.clone();
    let operation = idempotency.operation("orders.created").key("m1");
    let run = operation.run(async move |claim: Claim| {
        let tx = pool.begin().await.map_err(StepError::Failed)?;
        let order =
            claim.step_in(tx, "order", async |db| sqlx::query_scalar::<_, i64>(ORDER).fetch_one(db).await).await?;
        if fails { Err(StepError::Failed(sqlx::Error::RowNotFound)) } else { Ok(order) }
    });
    run.await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_step_in_the_callers_transaction_runs_once_in_the_store_and_beside_it() {
    for beside in [false, true] {
        let pool = database().await;
        let table = SqlStore::sqlite(pool.clone()).migrated().await.unwrap();
        let idempotency = if beside {
            Idempotency::builder(MemoryStore::new()).commit_to(table).build()
        } else {
            Idempotency::new(table)
        };
        order_in_a_step(&pool, &idempotency, true).await.unwrap_err();
        assert_eq!(order_in_a_step(&pool, &idempotency, false).await.unwrap(), Outcome::Ran(1), "beside: {beside}");
        assert_eq!(order_in_a_step(&pool, &idempotency, false).await.unwrap(), Outcome::Replayed(1));
        assert_eq!(orders(&pool).await, 1);
    }
}

/// Commits an order with its number.
async fn committed(pool: &SqlitePool, idempotency: &Idempotency) -> Outcome<i64> {
    let pool = pool.clone();
    let operation = idempotency.operation("orders.created").key("m1");
    let run = operation.run(async move |claim: Claim| {
        let mut tx = pool.begin().await?;
        let order: i64 = sqlx::query_scalar(ORDER).fetch_one(&mut *tx).await?;
        Ok::<_, Box<dyn Error + Send + Sync>>(claim.commit_value(tx, order).await?)
    });
    run.await.unwrap()
}

#[tokio::test]
async fn a_commit_beside_a_store_that_lost_its_data_is_found_before_the_effect_runs_or_by_its_own_commit() {
    for first in [false, true] {
        let pool = database().await;
        let beside = async || {
            let table = SqlStore::sqlite(pool.clone()).migrated().await.unwrap();
            let builder = Idempotency::builder(MemoryStore::new()).commit_to(table);
            if first { builder.look_for_commits_first() } else { builder }.build()
        };
        assert_eq!(committed(&pool, &beside().await).await, Outcome::Ran(1));
        let again = committed(&pool, &beside().await).await;
        assert_eq!(again.value(), Some(1), "looks first: {first}");
        // The effect ran again and was rolled back, or did not run.
        assert_eq!(orders(&pool).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_encryption_and_hashed_names_nothing_of_an_operation_can_be_read_and_it_is_replayed() {
    for sealed in [false, true] {
        let directory = support::directory::in_memory();
        let pool = sqlite_pool(&format!("sqlite://{}", directory.path().join("keys.db").display())).await;
        let store = SqlStore::sqlite(pool).migrated().await.unwrap();
        let builder = Idempotency::builder(store).namespace("sealed");
        let builder =
            if sealed { builder.encrypt(EncryptionKeys::new([(1, [7; 32])])).hash_names([9; 32]) } else { builder };
        let idempotency = builder.build();
        let run = || {
            let operation = idempotency.operation("orders.created").key("m1").scope("acme");
            operation.run(async |_| Ok::<_, Infallible>("card-4111".to_owned()))
        };
        assert_eq!(run().await.unwrap(), Outcome::Ran("card-4111".to_owned()));
        assert_eq!(run().await.unwrap(), Outcome::Replayed("card-4111".to_owned()));
        let files = fs::read_dir(directory.path()).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        let dump: Vec<u8> = files.flatten().collect();
        let is_there = dump.windows(9).any(|bytes| bytes == b"card-4111");
        assert_eq!(is_there, !sealed);
    }
}

#[tokio::test]
async fn more_operations_than_may_be_in_flight_are_refused_and_do_not_run() {
    let service = Service::over(Idempotency::builder(MemoryStore::new()).max_in_flight(1).build());
    let (gate, begun) = (Gate::default(), Gate::default());
    let first = {
        let (gate, begun) = (gate.clone(), begun.clone());
        service.operation("m1").run(async move |_| {
            begun.open();
            gate.passed().await;
            Ok::<_, Infallible>(())
        })
    };
    let second = async {
        begun.passed().await;
        let refused = service.count(service.operation("m2")).await;
        assert!(matches!(refused, Err(RunError::TooManyInFlight)), "{refused:?}");
        gate.open();
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.unwrap(), Outcome::Ran(()));
    assert_eq!(service.count(service.operation("m2")).await.unwrap(), Outcome::Ran(1));
}

#[test]
fn an_operation_is_counted_and_traced_under_its_name() {
    let observed = Observed::default();
    observed.during(async {
        let service = Service::new();
        for content in ["a", "a", "b"] {
            service.count(service.operation("key-that-nobody-may-see").fingerprint(content)).await.unwrap();
        }
        let full = Service::over(Idempotency::builder(MemoryStore::new()).max_in_flight(0).build());
        assert!(matches!(full.count(full.operation("m1")).await, Err(RunError::TooManyInFlight)));
        let failed = service.operation("m2").run(async |_| Err::<u8, _>("no money")).await;
        assert!(matches!(failed, Err(RunError::Effect("no money"))));
    });
    let number = |metric: &str, label: &str| observed.number(&format!("{metric}{{handler=orders.created,{label}}}"));
    for (outcome, times) in [("ran", 2), ("replayed", 1), ("key-reused", 1)] {
        let label = format!("outcome={outcome}");
        assert_eq!(number("idempotency_requests_total", &label), times, "{:#?}", observed.numbers());
    }
    assert_eq!(number("idempotency_attempts_total", "end=stored"), 1);
    assert_eq!(number("idempotency_attempts_total", "end=freed"), 1);
    assert_eq!(observed.number("idempotency_turned_away_total{outcome=too-many-in-flight}"), 1);
    let lines = observed.lines();
    for field in ["idempotent idempotency.handler=orders.created", "recorded idempotency.outcome=key-reused"] {
        assert!(lines.iter().any(|line| line.contains(field)), "{field} is not in {lines:#?}");
    }
    assert!(!format!("{lines:?}").contains("nobody-may-see"), "{lines:#?}");
}

#[tokio::test]
async fn an_operation_is_looked_up_and_forgotten_by_its_name() {
    let service = Service::new();
    let name = RequestName::of_operation("orders.created", "m1").scope("acme");
    let operation = || service.operation("m1").scope("acme").lease(Duration::from_secs(20));
    assert_eq!(service.idempotency.inspect(&name).await.unwrap(), Inspection::Absent);
    assert_eq!(service.count(operation()).await.unwrap(), Outcome::Ran(1));
    let finished = service.idempotency.inspect(&name).await.unwrap();
    assert!(matches!(finished, Inspection::Finished { .. }), "{finished:?}");

    // A person finds it in the admin router by the same name.
    let admin = AdminRouter::new(service.idempotency.clone()).into_router();
    let question = r#"{"route":"orders.created","key":"m1","scope":"acme"}"#;
    let request =
        Request::post("/lookup").header("content-type", "application/json").body(Body::from(question)).unwrap();
    let response = admin.oneshot(request).await.unwrap();
    let answer = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["requests"][0]["state"], "finished", "{answer}");

    assert_eq!(service.idempotency.forget(&name).await.unwrap(), ForgetOutcome::Forgotten);
    assert_eq!(service.count(operation()).await.unwrap(), Outcome::Ran(2));
    assert_eq!(service.runs.load(SeqCst), 2);
}
