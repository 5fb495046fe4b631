//! When leases are renewed. The tests run in process, over the memory store. Their clock is paused: it moves on only when
//! nothing else is to be done.

use std::time::Duration;

use axum::{Router, body::Body, extract::Request, http::StatusCode, routing::post};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use idempotent_runtime::{Claim, Idempotency, idempotent};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use crate::stage::{App, Fault, Op, PATIENCE, Runs, Stage};

/// Works, and answers with `kept`, or with the milliseconds after which its claim was lost.
async fn work(claim: Claim, seconds: u64) -> String {
    let start = Instant::now();
    tokio::select! {
        () = claim.lost() => start.elapsed().as_millis().to_string(),
        () = sleep(Duration::from_secs(seconds)) => "kept".to_owned(),
    }
}

#[idempotent(ttl = "1h", lease = "3s")]
async fn short(claim: Claim) -> String {
    work(claim, 9).await
}

#[idempotent(ttl = "1h", lease = "1h")]
async fn long(claim: Claim) -> String {
    work(claim, 30).await
}

#[idempotent(ttl = "1h", lease = "30s")]
async fn many(claim: Claim) -> String {
    work(claim, 40).await
}

/// Works for longer than its lease and fails. Answers whether it is recovering.
#[idempotent(ttl = "1h", lease = "3s")]
async fn fails(claim: Claim) -> (StatusCode, String) {
    sleep(Duration::from_secs(4)).await;
    (StatusCode::BAD_GATEWAY, claim.recovering().to_string())
}

fn app(idempotency: Idempotency) -> Router {
    let routes = Router::new().route("/short", post(short)).route("/long", post(long));
    let routes = routes.route("/many", post(many)).route("/fails", post(fails));
    routes.with_state(App { idempotency, runs: Runs::default() })
}

async fn send(app: &Router, path: &str, key: &str) -> String {
    let request = Request::post(path).header("idempotency-key", key).body(Body::empty()).unwrap();
    let body = app.clone().oneshot(request).await.unwrap().into_body();
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_or_gets_no_answer_is_repeated_while_the_lease_lasts() {
    let stage = Stage::memory();
    for fault in [Fault::Refuse, Fault::Hang] {
        stage.store.fail_once(Op::Renew, fault);
        // One call may take longer than the lease.
        let app = app(stage.settings().store_timeout(PATIENCE).build());
        assert_eq!(send(&app, "/short", &format!("{fault:?}")).await, "kept", "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_counts_as_lost_a_tenth_of_its_lease_before_its_end() {
    let stage = Stage::memory();
    stage.store.fail(Op::Renew, Fault::Refuse);
    let lost: u64 = send(&app(stage.settings().build()), "/short", "k").await.parse().unwrap();
    assert!((2_690..2_800).contains(&lost), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_although_all_others_are_due_much_later() {
    let app = app(Stage::memory().settings().build());
    let later = async {
        sleep(Duration::from_secs(1)).await;
        send(&app, "/short", "short").await
    };
    let both = tokio::join!(send(&app, "/long", "long"), later);
    assert_eq!(both, ("kept".to_owned(), "kept".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn more_attempts_than_may_be_renewed_at_once_all_keep_their_leases() {
    let stage = Stage::memory();
    stage.store.fail(Op::Renew, Fault::Slow);
    let app = app(stage.settings().build());
    let send = async |number: usize| send(&app, "/many", &format!("k{number}")).await;
    let answers = join_all((0..500).map(send)).await;
    assert_eq!(answers.iter().filter(|answer| *answer == "kept").count(), 500, "{:?}", &answers[..10]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_lease_was_renewed_frees_its_key_when_it_fails() {
    let stage = Stage::memory();
    let app = app(stage.settings().build());
    assert_eq!(send(&app, "/fails", "k").await, "false");
    assert!(stage.store.calls(Op::Renew) > 0);
    // Nothing is unknown of the first attempt.
    assert_eq!(send(&app, "/fails", "k").await, "false");
}

/// A static `Idempotency` in tests, each of which has a runtime that ends with it.
#[test]
fn leases_are_renewed_also_in_the_next_runtime() {
    let stage = Stage::memory();
    let app = app(stage.settings().build());
    for key in ["first", "second"] {
        let before = stage.store.calls(Op::Renew);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        assert_eq!(runtime.block_on(send(&app, "/short", key)), "kept", "{key}");
        assert!(stage.store.calls(Op::Renew) >= before + 6, "{key}");
    }
}
