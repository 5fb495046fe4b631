//! What a request must not do: block the store for later requests, use up the limit of requests in flight, leave a
//! claim that no attempt holds, or pass its claim on to another handler.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, Request, State},
    http::StatusCode,
    routing::post,
};
use idempotent_runtime::{
    Claim, Idempotency, MemoryStore, Outage, Store, StoreError, idempotent,
    store::{Expect, Put, Seen, StoreKey, Swapped},
};
use tokio::sync::Mutex;
use tower::ServiceExt;

use crate::stage::{Fault, Op, Stage, create, on_every_store, on_memory, until};

on_every_store!(
    an_outage_that_runs_unprotected_does_not_use_up_what_may_be_in_flight,
    a_claim_whose_answer_was_lost_is_set_free_whatever_the_last_error_was,
);

on_memory!(a_handler_that_passes_its_request_on_keeps_its_claim_to_itself, a_store_timeout_without_end_is_bounded,);

async fn an_outage_that_runs_unprotected_does_not_use_up_what_may_be_in_flight(stage: Stage) {
    let settings = stage.settings().store_timeout(Duration::from_millis(100)).max_in_flight(1);
    let server =
        stage.serve_with(settings.outage(Outage::RunUnprotected), Router::new().route("/", post(create))).await;
    stage.store.fail_all(Fault::Refuse);
    // Each request is answered, and its response still waits to be stored.
    for number in 1..=3 {
        assert_eq!(server.post("/").key(format!("k-{number}")).send().await.status, 201);
    }
    stage.store.heal();
}

async fn a_claim_whose_answer_was_lost_is_set_free_whatever_the_last_error_was(stage: Stage) {
    let settings = stage.settings().store_timeout(Duration::from_millis(300));
    let server = stage.serve_with(settings, Router::new().route("/", post(create))).await;
    let call = server.post("/").key("k");
    // The first try makes the claim and loses its answer; the last one is denied.
    stage.store.fail(Op::Claim, Fault::LoseAnswer);
    let refused = call.start();
    until("the claim to be made", || async { stage.store.calls(Op::Claim) >= 1 }).await;
    stage.store.fail(Op::Claim, Fault::Deny);
    refused.await.unwrap().is_problem(503, "store-unavailable");
    stage.store.heal();
    // The lease of that claim would last 30 seconds.
    let start = tokio::time::Instant::now();
    until("the key to be free", || async { call.send().await.status == 201 }).await;
    assert!(start.elapsed() < Duration::from_secs(20), "the lease had to end first");
    assert_eq!(server.runs.count(), 1);
}

async fn a_handler_that_passes_its_request_on_keeps_its_claim_to_itself(stage: Stage) {
    #[idempotent(ttl = "1h")]
    async fn inner(claim: Claim) -> String {
        format!("{} {}", claim.key().unwrap_or("none"), claim.derive_key("x"))
    }
    #[idempotent(ttl = "1h")]
    async fn outer(claim: Claim, request: Request) -> String {
        let mine = format!("{} {}", claim.key().unwrap_or("none"), claim.derive_key("x"));
        let (mut parts, _) = request.into_parts();
        parts.headers.insert("idempotency-key", "inner".parse().unwrap());
        let app = Router::new().route("/", post(inner)).with_state(Idempotency::new(MemoryStore::new()));
        let answer = app.oneshot(Request::from_parts(parts, Body::empty())).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), 1_000).await.unwrap();
        format!("{mine}\n{}\n{}", String::from_utf8_lossy(&body), claim.key().unwrap_or("none"))
    }
    let server = stage.serve(Router::new().route("/", post(outer))).await;
    let answer = server.post("/").key("outer").send().await;
    let lines: Vec<&str> = answer.text().lines().collect();
    let [mine, theirs, still_mine] = lines[..] else { panic!("{lines:?}") };
    assert!(mine.starts_with("outer ") && theirs.starts_with("inner ") && still_mine == "outer", "{lines:?}");
    assert_ne!(mine.split(' ').next_back(), theirs.split(' ').next_back());
}

async fn a_store_timeout_without_end_is_bounded(stage: Stage) {
    // A call that failed is repeated until the timeout is over, which is a moment that must exist.
    stage.store.fail_once(Op::Complete, Fault::Refuse);
    let server =
        stage.serve_with(stage.settings().store_timeout(Duration::MAX), Router::new().route("/", post(create))).await;
    server.post("/").key("k").send().await.is_run(1);
}

/// A store whose calls take turns, as on a connection that is not shared, and whose renewals are slow.
struct OneAtATime {
    store: MemoryStore,
    turn: Arc<Mutex<()>>,
}

impl OneAtATime {
    async fn in_turn<T>(&self, call: impl Future<Output = T>) -> T {
        let _turn = self.turn.lock().await;
        call.await
    }
}

impl Store for OneAtATime {
    async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        self.in_turn(self.store.read(key)).await
    }
    async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        self.in_turn(async {
            // A renewal keeps the body.
            if put.body.is_none() {
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            self.store.swap(key, expect, put).await
        })
        .await
    }
    async fn now(&self) -> Result<SystemTime, StoreError> {
        self.store.now().await
    }
}

#[derive(Clone, FromRef)]
struct SlowApp {
    idempotency: Idempotency,
    turn: Arc<Mutex<()>>,
}

/// Waits until a heartbeat is under way, and fails then.
#[idempotent(ttl = "1h", lease = "600ms")]
async fn fails_under_a_heartbeat(State(app): State<SlowApp>) -> StatusCode {
    until("a heartbeat to be under way", || async { app.turn.try_lock().is_err() }).await;
    StatusCode::INTERNAL_SERVER_ERROR
}

#[tokio::test]
async fn a_heartbeat_under_way_holds_nothing_when_its_claim_is_given_up() {
    let turn = Arc::new(Mutex::new(()));
    let store = OneAtATime { store: MemoryStore::new(), turn: turn.clone() };
    let idempotency = Idempotency::builder(store).store_timeout(Duration::from_secs(20)).build();
    let app = Router::new().route("/", post(fails_under_a_heartbeat)).with_state(SlowApp { idempotency, turn });
    let started = tokio::time::Instant::now();
    let request = Request::post("/").header("idempotency-key", "k").body(Body::empty()).unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), 500);
    assert!(started.elapsed() < Duration::from_secs(10), "the release waited for a renewal that nobody polls");
}
