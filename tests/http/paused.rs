//! Situations that would need long waits on a real clock. The tests run in process, over the memory store. Their clock
//! is paused: it moves on only when nothing else is to be done.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header::HeaderValue},
    response::Response,
    routing::post,
};
use http_body_util::BodyExt;
use idempotent_runtime::{Claim, Idempotency, idempotent};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

use crate::stage::{App, Fault, Op, Runs, Stage};

fn app(idempotency: Idempotency, runs: &Runs) -> Router {
    let routes = Router::new().route("/lost", post(until_lost)).route("/slow", post(fails_slowly_at_first));
    let routes = routes.route("/dies", post(dies_at_first)).route("/fails", post(fails)).route("/long", post(long));
    routes.with_state(App { idempotency, runs: runs.clone() })
}

async fn send(app: &Router, path: &str) -> (StatusCode, bool, String) {
    send_with(app, path, "k").await
}

async fn send_with(app: &Router, path: &str, key: &str) -> (StatusCode, bool, String) {
    let request = Request::post(path).header("idempotency-key", key).body(Body::empty()).unwrap();
    let response: Response = app.clone().oneshot(request).await.unwrap();
    let replayed = response.headers().get("idempotent-replayed") == Some(&HeaderValue::from_static("true"));
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, replayed, String::from_utf8(body.to_vec()).unwrap())
}

/// Answers with the milliseconds after which its claim was lost.
#[idempotent(ttl = "1h", lease = "10s")]
async fn until_lost(claim: Claim) -> String {
    let start = Instant::now();
    claim.lost().await;
    start.elapsed().as_millis().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_claim_counts_as_lost_before_its_lease_is_over() {
    let stage = Stage::memory();
    for fault in [Fault::Hang, Fault::Refuse] {
        stage.store.fail(Op::Renew, fault);
        let (_, _, lost_after) = send(&app(stage.settings().build(), &Runs::default()), "/lost").await;
        let lost_after: u64 = lost_after.parse().unwrap();
        assert!((8_900..9_500).contains(&lost_after), "{fault:?}: lost after {lost_after} ms of a lease of 10 s");
        stage.store.heal();
        let attempt = stage.store.claims().pop().unwrap();
        stage.store.lose_done(&attempt).await;
    }
}

/// Works for 12 s and fails; the next attempt works for 7 s. Notes when a claim is lost.
#[idempotent(ttl = "1h", lease = "5s", wait = "20s")]
async fn fails_slowly_at_first(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
    let number = runs.begin();
    let (work, status) = match number {
        1 => (12, StatusCode::BAD_GATEWAY),
        _ => (7, StatusCode::CREATED),
    };
    tokio::select! {
        () = claim.lost(), if number > 1 => runs.note(format!("{number} lost its claim")),
        () = sleep(Duration::from_secs(work)) => {}
    }
    (status, number.to_string())
}

#[tokio::test(start_paused = true)]
async fn time_spent_waiting_is_no_part_of_an_attempt() {
    let stage = Stage::memory();
    let runs = Runs::default();
    let app = app(stage.settings().max_attempt(Duration::from_secs(10)).build(), &runs);
    let at = |seconds: u64| {
        let app = &app;
        async move {
            sleep(Duration::from_millis(seconds * 1_000)).await;
            send(app, "/slow").await
        }
    };
    let (first, second, third) = tokio::join!(at(0), at(1), at(14));
    assert_eq!((first.0, second.0), (StatusCode::BAD_GATEWAY, StatusCode::CREATED));
    assert_eq!(third, (StatusCode::CREATED, true, "2".to_owned()), "the third request is a replay of the second run");
    assert_eq!(runs.notes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_a_claim_that_is_being_released() {
    let stage = Stage::memory();
    let idempotency = stage.settings().store_timeout(Duration::from_millis(300)).build();
    let app = app(idempotency.clone(), &Runs::default());
    // The store makes the claim, and its answer never comes.
    stage.store.fail(Op::Claim, Fault::LoseAnswer);
    stage.store.fail(Op::Release, Fault::Refuse);
    let (status, ..) = send(&app, "/lost").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let attempt = stage.store.claims().pop().unwrap();
    assert!(timeout(Duration::from_millis(200), idempotency.drain()).await.is_err(), "the claim still stands");
    assert!(stage.store.is_running(&attempt).await);
    stage.store.heal();
    idempotency.drain().await;
    assert!(!stage.store.is_running(&attempt).await);
}

/// The first attempt panics after 4 s. The next one answers whether it is recovering.
#[idempotent(ttl = "1h", lease = "9s")]
async fn dies_at_first(claim: Claim, State(runs): State<Runs>) -> String {
    if runs.begin() == 1 {
        sleep(Duration::from_secs(4)).await;
        panic!("an expected panic of the test's handler");
    }
    claim.recovering().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_renewal_without_an_answer_does_not_make_a_death_forgotten() {
    let stage = Stage::memory();
    let idempotency = stage.settings().store_timeout(Duration::from_millis(300)).build();
    let app = app(idempotency.clone(), &Runs::default());
    stage.store.fail(Op::Renew, Fault::Hang);
    let dead = tokio::spawn({
        let app = app.clone();
        async move { send(&app, "/dies").await }
    });
    assert!(dead.await.is_err());
    assert!(stage.store.calls(Op::Renew) > 0);
    // The clean-up after the unanswered renewal must not free the key.
    idempotency.drain().await;
    let (_, _, recovering) = send(&app, "/dies").await;
    assert_eq!(recovering, "true");
}

/// Works until just after its first renewal is due, and fails.
#[idempotent(ttl = "1h", lease = "3s")]
async fn fails() -> StatusCode {
    sleep(Duration::from_millis(1_100)).await;
    StatusCode::INTERNAL_SERVER_ERROR
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_waits_for_its_turn_does_not_claim_a_freed_key_again() {
    let stage = Stage::memory();
    let idempotency = stage.settings().build();
    let app = app(idempotency.clone(), &Runs::default());
    // Many more attempts than renewals may be under way. Those under way end after the attempts.
    stage.store.fail(Op::Renew, Fault::Slow);
    let send = |number: usize| {
        let app = app.clone();
        async move { send_with(&app, "/fails", &format!("k{number}")).await.0 }
    };
    let answers = futures_util::future::join_all((0..1_000).map(send)).await;
    assert!(answers.iter().all(|status| *status == StatusCode::INTERNAL_SERVER_ERROR));
    idempotency.drain().await;
    // Renewals that had waited would have had their turn by then.
    sleep(Duration::from_secs(5)).await;
    let mut running = 0;
    for attempt in stage.store.claims() {
        running += usize::from(stage.store.is_running(&attempt).await);
    }
    assert_eq!(running, 0, "so many keys were freed and are running");
}

/// Works for three of its leases. Answers whether its claim was lost meanwhile.
#[idempotent(ttl = "1h", lease = "10s")]
async fn long(claim: Claim) -> (StatusCode, &'static str) {
    tokio::select! {
        () = claim.lost() => (StatusCode::CREATED, "lost"),
        () = sleep(Duration::from_secs(30)) => (StatusCode::CREATED, "kept"),
    }
}

#[tokio::test(start_paused = true)]
async fn durations_without_end_are_shortened() {
    let stage = Stage::memory();
    let settings = stage.settings().max_attempt(Duration::MAX).response_patience(Duration::MAX);
    let app = app(settings.store_timeout(Duration::MAX).build(), &Runs::default());
    assert_eq!(send(&app, "/long").await, (StatusCode::CREATED, false, "kept".to_owned()));
    assert!(stage.store.calls(Op::Renew) >= 6, "the lease is renewed");
    assert!(send(&app, "/long").await.1);
}

/// A client hangs up while its claim is under way. Returns how long a shutdown takes then.
async fn hangs_up_during_a_claim(stage: &Stage, fault: Fault, before: &[&str]) -> Duration {
    let idempotency = stage.settings().store_timeout(Duration::from_millis(500)).build();
    let app = app(idempotency.clone(), &Runs::default());
    let first: Vec<_> = before
        .iter()
        .map(|path| {
            let (app, path) = (app.clone(), (*path).to_owned());
            tokio::spawn(async move { send(&app, &path).await })
        })
        .collect();
    sleep(Duration::from_secs(1)).await;
    stage.store.fail_once(Op::Claim, fault);
    let hung_up = timeout(Duration::from_millis(100), send(&app, "/long")).await;
    assert!(hung_up.is_err(), "{hung_up:?}");
    futures_util::future::join_all(first).await;
    let start = Instant::now();
    idempotency.drain().await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_during_its_claim_does_not_hold_up_a_shutdown_for_a_lease() {
    let stage = Stage::memory();
    let never_made = hangs_up_during_a_claim(&stage, Fault::Hang, &[]).await;
    let made = hangs_up_during_a_claim(&stage, Fault::HangAfter, &[]).await;
    let running = hangs_up_during_a_claim(&stage, Fault::HangAfter, &["/long"]).await;
    let done = hangs_up_during_a_claim(&stage, Fault::HangAfter, &[]).await;
    for (what, took) in [("never made", never_made), ("made", made), ("running", running), ("done", done)] {
        assert!(took < Duration::from_secs(5), "{what}: {took:?}");
    }
}
