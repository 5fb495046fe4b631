//! What a service can test with `testing::TestStore`: an outage, an attempt that died, a lost claim.

use axum::{
    Router,
    extract::{FromRef, State},
    http::StatusCode,
    routing::post,
};
use idempotent_runtime::{Claim, Idempotency, testing::TestStore};
use support::in_process::send;
use tokio::sync::watch;

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    begun: watch::Sender<u32>,
}

/// The first attempt runs until its claim is lost.
#[idempotent_runtime::idempotent(ttl = "1h", lease = "1s")]
async fn charge(State(begun): State<watch::Sender<u32>>, claim: Claim, body: String) -> String {
    begun.send_modify(|begun| *begun += 1);
    if claim.recovering() {
        return "looked at the provider first".to_owned();
    }
    if body == "hangs" {
        claim.lost().await;
        return "stopped".to_owned();
    }
    "charged".to_owned()
}

fn service(store: &TestStore) -> (Router, watch::Sender<u32>) {
    let begun = watch::Sender::default();
    let app = App { idempotency: Idempotency::new(store.clone()), begun: begun.clone() };
    (Router::new().route("/", post(charge)).with_state(app), begun)
}

#[tokio::test]
async fn in_an_outage_the_handler_does_not_run_and_afterwards_it_does() {
    let store = TestStore::new();
    let (router, begun) = service(&store);
    store.begin_outage();
    assert_eq!(send(&router, "/", "k", "pay").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(*begun.borrow(), 0);
    store.end_outage();
    assert_eq!(send(&router, "/", "k", "pay").await.body, "charged");
}

#[tokio::test]
async fn a_killed_attempt_is_told_that_its_claim_is_lost_and_the_next_one_recovers() {
    let store = TestStore::new();
    let (router, begun) = service(&store);
    let first = tokio::spawn({
        let router = router.clone();
        async move { send(&router, "/", "k", "hangs").await.body }
    });
    begun.subscribe().wait_for(|begun| *begun == 1).await.unwrap();
    store.kill_attempts();
    assert_eq!(first.await.unwrap(), "stopped");
    let retry = loop {
        let answer = send(&router, "/", "k", "hangs").await;
        if answer.status != StatusCode::CONFLICT {
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!((retry.body.as_str(), retry.replayed), ("looked at the provider first", false));
    assert!(send(&router, "/", "k", "hangs").await.replayed);
}
