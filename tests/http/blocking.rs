//! Runtimes whose threads are blocked by handlers for longer than their lease, while retries reach another process; and
//! runtimes that are dropped while leases are due to be renewed.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode},
    routing::post,
};
use idempotent_runtime::{Idempotency, MemoryStore, Store, idempotent};
use support::{redis_server::RedisServer, redis_store::patient};
use tower::ServiceExt as _;

use crate::stage::{App, PATIENCE, Runs, soon};

/// Three leases.
const BLOCKED: Duration = Duration::from_secs(9);

#[idempotent(ttl = "1h", lease = "3s")]
async fn blocks(State(runs): State<Runs>) -> StatusCode {
    runs.begin();
    std::thread::sleep(BLOCKED);
    StatusCode::CREATED
}

/// A process's routes, with a connection to the store of its own.
fn process(store: impl Store, runs: &Runs) -> Router {
    let idempotency = Idempotency::builder(store).store_timeout(Duration::from_secs(10)).build();
    Router::new().route("/", post(blocks)).with_state(App { idempotency, runs: runs.clone() })
}

async fn send(process: Router) -> StatusCode {
    let request = Request::post("/").header("idempotency-key", "k").body(Body::empty()).unwrap();
    process.oneshot(request).await.unwrap().status()
}

/// `connect` opens a connection to the one store of both processes.
async fn runs_once<S: Store>(connect: impl AsyncFn() -> S + Send + Clone + 'static) {
    let runs = Runs::default();
    let (retries, theirs) = (process(connect().await, &runs), runs.clone());
    let blocked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move { send(process(connect().await, &theirs)).await })
    });
    runs.begun(1).await;
    while !blocked.is_finished() {
        let status = send(retries.clone()).await;
        assert!(matches!(status, StatusCode::CONFLICT | StatusCode::CREATED), "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(blocked.join().unwrap(), StatusCode::CREATED);
    assert_eq!(soon("the replay", send(retries)).await, StatusCode::CREATED);
    assert_eq!(runs.count(), 1, "a retry ran the handler again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_runtime_keeps_its_lease_in_memory() {
    let store = std::sync::Arc::new(MemoryStore::new());
    runs_once(async move || store.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_runtime_keeps_its_lease_over_redis() {
    let server = RedisServer::start();
    let url = server.url();
    runs_once(async move || patient().connect(&url).await.unwrap()).await;
}

/// Never ends.
#[idempotent(ttl = "1h", lease = "3s")]
async fn hangs(State(runs): State<Runs>) -> StatusCode {
    runs.begin();
    std::future::pending().await
}

#[test]
fn a_runtime_that_is_dropped_while_leases_are_renewed_ends() {
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let runs = Runs::default();
        let app = App { idempotency: Idempotency::new(MemoryStore::new()), runs: runs.clone() };
        let app: Router = Router::new().route("/", post(hangs)).with_state(app);
        runtime.block_on(async {
            for number in 0..5_000 {
                let key = format!("k{number}");
                let request = Request::post("/").header("idempotency-key", key).body(Body::empty()).unwrap();
                tokio::spawn(app.clone().oneshot(request));
            }
            runs.begun(5_000).await;
        });
        // Both threads are blocked while the renewals become due. The runtime is dropped when they are all started.
        let (unblocked, started) = std::sync::mpsc::channel();
        for _ in 0..2 {
            let unblocked = unblocked.clone();
            runtime.spawn(async move {
                std::thread::sleep(Duration::from_secs(2));
                let _ = unblocked.send(());
            });
        }
        let _ = started.recv();
        std::thread::sleep(Duration::from_millis(3));
        drop(runtime);
        let _ = ended.send(());
    });
    end.recv_timeout(2 * PATIENCE).expect("the runtime to end");
}
