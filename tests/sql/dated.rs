//! A key that contains its time is compared with the database's clock before it is claimed. An outage of the database
//! counts there as it does for a claim.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, State},
    http::{Request, StatusCode},
    routing::post,
};
use idempotent_runtime::{Idempotency, IdempotencyBuilder, Outage, SqlStore, idempotent};
use sqlx::postgres::PgPoolOptions;
use support::{observed::Observed, postgres::Postgres, proxy::Proxy};
use tower::ServiceExt as _;
use uuid::{NoContext, Timestamp, Uuid};

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    runs: Arc<AtomicUsize>,
}

#[idempotent(ttl = "1h", lease = "30s", key = "uuidv7")]
async fn dated(State(runs): State<Arc<AtomicUsize>>) -> StatusCode {
    runs.fetch_add(1, SeqCst);
    StatusCode::CREATED
}

/// A service whose database is behind a proxy.
struct Service {
    proxy: Proxy,
    app: App,
}

impl Service {
    async fn new(set: impl FnOnce(IdempotencyBuilder) -> IdempotencyBuilder) -> Self {
        let server = Postgres::shared();
        let database = server.database().await;
        let proxy = Proxy::to(server.address()).await;
        // The pool does not notice that a connection broke before the connection is used.
        let pool = PgPoolOptions::new().max_connections(4).min_connections(4).test_before_acquire(false);
        let pool = pool.connect(&Postgres::url_at(proxy.address(), &database)).await.expect("a pool");
        let store = SqlStore::postgres(pool);
        store.migrate().await.expect("a table");
        let idempotency = set(Idempotency::builder(store).namespace("dated")).build();
        Self { proxy, app: App { idempotency, runs: Arc::default() } }
    }

    async fn post(&self) -> StatusCode {
        self.post_with_key_of(SystemTime::now()).await
    }

    async fn post_with_key_of(&self, time: SystemTime) -> StatusCode {
        let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let time = Timestamp::from_unix(NoContext, time.as_secs(), time.subsec_nanos());
        let key = Uuid::new_v7(time).to_string();
        let request = Request::post("/").header("idempotency-key", key).body(Body::empty()).unwrap();
        Router::new().route("/", post(dated)).with_state(self.app.clone()).oneshot(request).await.unwrap().status()
    }
}

#[test]
fn during_an_outage_a_dated_key_is_refused_and_the_outage_is_logged() {
    let log = Observed::default();
    log.during(async {
        let service = Service::new(|builder| builder).await;
        service.proxy.refuse();
        assert_eq!(service.post().await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(service.app.runs.load(SeqCst), 0);
    });
    let lines = log.lines();
    assert_eq!(
        lines.iter().filter(|line| line.contains("store unavailable, requests refused")).count(),
        1,
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_may_run_unprotected_does_so_with_a_dated_key_too() {
    let service = Service::new(|builder| builder.outage(Outage::RunUnprotected)).await;
    service.proxy.refuse();
    assert_eq!(service.post().await, StatusCode::CREATED);
    assert_eq!(service.app.runs.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_key_never_runs_unprotected() {
    let service = Service::new(|builder| builder.outage(Outage::RunUnprotected)).await;
    service.proxy.refuse();
    let expired = SystemTime::now() - Duration::from_secs(2 * 3_600);
    assert_eq!(service.post_with_key_of(expired).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(service.app.runs.load(SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_broke_in_the_pool_is_replaced_within_the_call() {
    let service = Service::new(|builder| builder.store_timeout(Duration::from_secs(10))).await;
    for _ in 0..10 {
        service.proxy.refuse();
        tokio::time::sleep(Duration::from_millis(20)).await;
        service.proxy.pass();
        assert_eq!(service.post().await, StatusCode::CREATED);
    }
}
