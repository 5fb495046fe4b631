//! Handlers hold every connection of the pool that the store uses, for longer than their lease.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, State},
    http::{Request, StatusCode},
    routing::post,
};
use idempotent_runtime::{Claim, Idempotency, idempotent};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use support::{ledger::Ledger, postgres::Postgres};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

const LEASE: Duration = Duration::from_secs(3);

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    ledger: Ledger,
    runs: Arc<AtomicUsize>,
    /// A handler that holds a connection waits here.
    gate: Arc<Semaphore>,
}

/// Holds a connection of the pool until the test opens the gate.
#[idempotent(ttl = "1h", lease = "3s")]
async fn hold(State(app): State<App>, claim: Claim) -> StatusCode {
    app.runs.fetch_add(1, SeqCst);
    let waits = async {
        match &app.ledger {
            Ledger::Sqlite(pool) => {
                let _held = pool.acquire().await.expect("a connection");
                drop(app.gate.acquire().await.expect("it is open"));
            }
            Ledger::Postgres(pool) => {
                let _held = pool.acquire().await.expect("a connection");
                drop(app.gate.acquire().await.expect("it is open"));
            }
        }
    };
    tokio::select! {
        () = waits => StatusCode::CREATED,
        () = claim.lost() => StatusCode::GONE,
    }
}

async fn post_to(app: &App, key: &str) -> StatusCode {
    let request = Request::post("/").header("idempotency-key", key).body(Body::empty()).unwrap();
    Router::new().route("/", post(hold)).with_state(app.clone()).oneshot(request).await.unwrap().status()
}

/// `here` and `elsewhere` are two processes, each with its own pool.
async fn their_claims_are_renewed(here: Ledger, elsewhere: Ledger, connections: usize) {
    let app = |ledger: &Ledger| App {
        idempotency: Idempotency::builder(ledger.store()).store_timeout(Duration::from_secs(10)).build(),
        ledger: ledger.clone(),
        runs: Arc::default(),
        gate: Arc::new(Semaphore::new(0)),
    };
    let (here, elsewhere) = (app(&here), app(&elsewhere));
    let keys: Vec<String> = (0..connections).map(|number| format!("k{number}")).collect();
    let running: Vec<_> = keys
        .iter()
        .map(|key| {
            let (app, key) = (here.clone(), key.clone());
            tokio::spawn(async move { post_to(&app, &key).await })
        })
        .collect();
    while here.runs.load(SeqCst) < connections {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The leases would be over by now.
    tokio::time::sleep(LEASE * 3).await;
    for key in &keys {
        assert_eq!(post_to(&elsewhere, key).await, StatusCode::CONFLICT, "{key}");
    }
    here.gate.add_permits(connections);
    for first in running {
        assert_eq!(first.await.expect("no panic"), StatusCode::CREATED);
    }
    assert_eq!((here.runs.load(SeqCst), elsewhere.runs.load(SeqCst)), (connections, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn their_claims_are_renewed_in_postgres() {
    let url = Postgres::shared().new_url().await;
    // The ledger's pool has ten connections.
    their_claims_are_renewed(Ledger::connect(&url).await, Ledger::connect(&url).await, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn their_claims_are_renewed_in_sqlite() {
    let directory = support::directory::in_memory();
    let url = format!("sqlite://{}", directory.path().join("ledger.db").display());
    their_claims_are_renewed(Ledger::connect(&url).await, Ledger::connect(&url).await, 10).await;
}

/// The server takes no more connections, so the heartbeats have none of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_server_takes_no_more_connections_claims_are_renewed_over_the_services() {
    let server = Postgres::shared();
    let url = server.new_url().await;
    let owner = Ledger::connect(&url).await;
    let role = format!("limited_{}", uuid::Uuid::new_v4().simple());
    let Ledger::Postgres(pool) = &owner else { panic!("another database") };
    let grants = format!(
        "CREATE ROLE {role} LOGIN CONNECTION LIMIT 2; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
    );
    sqlx::raw_sql(&grants).execute(pool).await.expect("a role");
    let options: PgConnectOptions = url.parse().expect("a URL");
    let limited = PgPoolOptions::new().min_connections(2).max_connections(2).acquire_timeout(Duration::from_secs(30));
    let limited = limited.connect_with(options.username(&role)).await.expect("a pool");
    let both = (limited.acquire().await.expect("one"), limited.acquire().await.expect("two"));
    drop(both);
    their_claims_are_renewed(Ledger::Postgres(limited), owner, 1).await;
}
