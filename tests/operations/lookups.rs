//! What support staff can see of a request, and what they can forget, with the memory store and with Redis.

use axum::{
    Router,
    body::Body,
    extract::FromRef,
    http::{Method, Request, StatusCode},
    routing::post,
};
use idempotent_runtime::{
    Idempotency, IdempotencyBuilder, Inspection, MemoryStore, RequestName, Store, StoreError, idempotent,
    store::ForgetOutcome,
};
use support::{
    gate::Gate,
    in_process::panics,
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
};
use tokio::sync::watch;
use tower::ServiceExt as _;

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    runs: watch::Sender<u32>,
    gate: Gate,
}

#[idempotent(ttl = "1h", lease = "6s", scope = user)]
async fn charge(
    axum::extract::State(App { runs, gate, .. }): axum::extract::State<App>,
    axum::extract::Path((user, _number)): axum::extract::Path<(String, u32)>,
    body: String,
) -> (StatusCode, String) {
    runs.send_modify(|runs| *runs += 1);
    match body.as_str() {
        "held" => gate.passed().await,
        "panics" => panic!("as the test wants"),
        _ => {}
    }
    (StatusCode::CREATED, "x".repeat(body.len()))
}

struct Service {
    router: Router,
    idempotency: Idempotency,
    runs: watch::Sender<u32>,
    gate: Gate,
}

impl Service {
    fn of(builder: IdempotencyBuilder) -> Self {
        let idempotency = builder.namespace("operated").store_timeout(PATIENCE).max_response(1_000).build();
        let runs = watch::Sender::default();
        let gate = Gate::default();
        let app = App { idempotency: idempotency.clone(), runs: runs.clone(), gate: gate.clone() };
        let routes = Router::new().route("/users/{user}/charges/{number}", post(charge));
        Self { router: Router::new().nest("/v1", routes).with_state(app), idempotency, runs, gate }
    }

    async fn send(&self, key: &str, body: &str) -> u16 {
        let request = Request::post("/v1/users/ann/charges/7").header("idempotency-key", key);
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.router.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    async fn inspect(&self, key: &str) -> Inspection {
        self.idempotency.inspect(&name(key)).await.unwrap()
    }

    async fn forget(&self, key: &str) -> ForgetOutcome {
        self.idempotency.forget(&name(key)).await.unwrap()
    }
}

/// Names the request. The names of path parameters do not matter.
fn name(key: &str) -> RequestName<'_> {
    RequestName::new(Method::POST, "/v1/users/{whoever}/charges/{which}", key).scope("ann")
}

async fn each_state_is_shown_and_forgotten_as_far_as_it_may_be(store: impl Store) {
    let service = Service::of(Idempotency::builder(store));
    assert_eq!(service.inspect("k").await, Inspection::Absent);
    assert_eq!(service.forget("k").await, ForgetOutcome::Absent);

    assert_eq!(service.send("k", "body").await, 201);
    let finished = service.inspect("k").await;
    assert!(matches!(finished, Inspection::Finished { status: StatusCode::CREATED, bytes: 5.. }), "{finished:?}");
    service.send("k", "body").await;
    assert_eq!(*service.runs.borrow(), 1, "a retry is replayed");
    assert_eq!(service.forget("k").await, ForgetOutcome::Forgotten);
    assert_eq!(service.inspect("k").await, Inspection::Absent);
    service.send("k", "body").await;
    assert_eq!(*service.runs.borrow(), 2, "and runs again after it was forgotten");

    service.send("large", &"x".repeat(2_000)).await;
    let large = service.inspect("large").await;
    assert!(matches!(large, Inspection::FinishedWithoutBody { .. }), "{large:?}");

    let running = async {
        let ran_before = *service.runs.borrow();
        let mut runs = service.runs.subscribe();
        runs.wait_for(|runs| *runs > ran_before).await.unwrap();
        let seen = (service.inspect("held").await, service.forget("held").await);
        service.gate.open();
        seen
    };
    // The lookup is polled first, so that it knows how many handlers ran before.
    let ((seen, forgetting), status) = tokio::join!(running, service.send("held", "held"));
    assert!(matches!(seen, Inspection::Running { left } if !left.is_zero()), "{seen:?}");
    assert!(matches!(forgetting, ForgetOutcome::Running { left } if !left.is_zero()), "{forgetting:?}");
    assert_eq!(status, 201);
    assert!(matches!(service.inspect("held").await, Inspection::Finished { .. }), "a running one was left alone");

    panics(&service.router, "/v1/users/ann/charges/7", "dead").await;
    assert_eq!(service.inspect("dead").await, Inspection::Died);
    assert_eq!(service.forget("dead").await, ForgetOutcome::Forgotten);
    assert_eq!(service.inspect("dead").await, Inspection::Absent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_each_state_is_shown_and_forgotten_as_far_as_it_may_be() {
    each_state_is_shown_and_forgotten_as_far_as_it_may_be(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_redis_each_state_is_shown_and_forgotten_as_far_as_it_may_be() {
    let server = RedisServer::start();
    let store = patient().connect(&server.url()).await.unwrap();
    each_state_is_shown_and_forgotten_as_far_as_it_may_be(store).await;
}

#[tokio::test]
async fn another_scope_method_or_key_is_another_request() {
    let service = Service::of(Idempotency::builder(MemoryStore::new()));
    service.send("k", "body").await;
    let route = "/v1/users/{user}/charges/{number}";
    let other = [
        RequestName::new(Method::POST, route, "k").scope("bob"),
        RequestName::new(Method::POST, route, "k"),
        RequestName::new(Method::PUT, route, "k").scope("ann"),
        RequestName::new(Method::POST, route, "K").scope("ann"),
        RequestName::new(Method::POST, route, "k").scope("ann").unmatched(),
    ];
    for other in other {
        assert_eq!(service.idempotency.inspect(&other).await.unwrap(), Inspection::Absent);
    }
    assert!(matches!(service.inspect("k").await, Inspection::Finished { .. }));
}

/// A record that cannot be read can still be removed, also when memory is short.
#[tokio::test]
async fn an_unreadable_record_is_shown_and_forgotten() {
    let server = RedisServer::start();
    let service = Service::of(Idempotency::builder(patient().connect(&server.url()).await.unwrap()));
    service.send("k", "body").await;
    let key = server.cli(&["--scan"]);
    for spoil in [&["SET", key.trim(), "nonsense"][..], &["LPUSH", key.trim(), "nonsense"]] {
        server.set(spoil);
        assert_eq!(service.send("k", "body").await, 500);
        assert_eq!(service.inspect("k").await, Inspection::Unreadable);
        server.set(&["CONFIG", "SET", "maxmemory", "1"]);
        assert_eq!(service.forget("k").await, ForgetOutcome::Forgotten);
        server.set(&["CONFIG", "SET", "maxmemory", "0"]);
        assert_eq!(service.inspect("k").await, Inspection::Absent);
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_an_error_in_time() {
    let mut server = RedisServer::start();
    let service = Service::of(Idempotency::builder(patient().connect(&server.url()).await.unwrap()));
    server.kill();
    let start = std::time::Instant::now();
    let (seen, forgotten) =
        (service.idempotency.inspect(&name("k")).await, service.idempotency.forget(&name("k")).await);
    assert!(matches!(seen, Err(StoreError::Down(_) | StoreError::Unreachable(_) | StoreError::Timeout)), "{seen:?}");
    assert!(
        matches!(forgotten, Err(StoreError::Down(_) | StoreError::Unreachable(_) | StoreError::Timeout)),
        "{forgotten:?}"
    );
    assert!(start.elapsed() < PATIENCE / 2, "it waited for an answer");
}

#[test]
fn a_name_shows_neither_key_nor_scope() {
    let shown = format!("{:?}", RequestName::new(Method::POST, "/payments", "s3cret-key").scope("s3cret-user"));
    assert!(!shown.contains("s3cret"), "{shown}");
}
