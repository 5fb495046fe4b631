//! Duplicates that wait for the first attempt.

use std::time::{Duration, Instant};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use futures_util::future::{join_all, select_all};
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{Claim, idempotent, store::Lookup};

use crate::stage::{App, Fault, Op, Runs, Stage, create, on_every_store, until};

on_every_store!(
    a_duplicate_waits_and_gets_the_first_response,
    a_duplicate_on_another_server_waits_as_well,
    a_wait_that_is_over_is_answered_with_409_and_leaves_the_claim_alone,
    when_the_key_is_freed_one_waiter_runs_and_the_others_wait_on,
    when_the_lease_ends_one_waiter_takes_over,
    a_waiter_of_another_request_does_not_wait,
    a_waiter_whose_client_left_does_not_run,
    a_waiter_is_refused_when_the_store_goes_down,
    more_duplicates_than_may_wait_for_one_key_are_answered_at_once,
);

#[idempotent(ttl = "1h", lease = "3s", wait = "50s")]
async fn patient(claim: Claim, State(runs): State<Runs>, failures: String) -> (StatusCode, String) {
    let number = runs.begin();
    runs.note(claim.recovering().to_string());
    runs.hold(number).await;
    let status = if number <= failures.parse().unwrap_or(0) { StatusCode::BAD_GATEWAY } else { StatusCode::CREATED };
    (status, number.to_string())
}

#[idempotent(ttl = "1h", wait = "50s")]
async fn patient_under_a_long_lease(State(runs): State<Runs>) -> (StatusCode, String) {
    (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
}

#[idempotent(ttl = "1h", wait = "300ms")]
async fn hasty(State(runs): State<Runs>) -> (StatusCode, String) {
    (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
}

fn routes() -> Router<App> {
    Router::new()
        .route("/", post(patient))
        .route("/hasty", post(hasty))
        .route("/long-lease", post(patient_under_a_long_lease))
}

/// Waits until so many requests have asked for a key.
async fn claimed(stage: &Stage, times: usize) {
    until("the duplicates to come in", || async { stage.store.calls(Op::Claim) >= times }).await;
}

async fn a_duplicate_waits_and_gets_the_first_response(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let duplicates: Vec<_> = (0..20).map(|_| call.start()).collect();
    claimed(&stage, 21).await;
    assert!(duplicates.iter().all(|duplicate| !duplicate.is_finished()));
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    for duplicate in join_all(duplicates).await {
        duplicate.unwrap().is_replay_of_run(1);
    }
    assert_eq!(server.runs.count(), 1);
}

async fn a_duplicate_on_another_server_waits_as_well(stage: Stage) {
    let (one, two) = (stage.serve(routes()).await, stage.serve(routes()).await);
    let first = one.post("/").key("k").start();
    one.runs.begun(1).await;
    let duplicate = two.post("/").key("k").start();
    claimed(&stage, 2).await;
    one.runs.open(1);
    first.await.unwrap().is_run(1);
    duplicate.await.unwrap().is_replay_of_run(1);
    assert_eq!(two.runs.count(), 0);
}

async fn a_wait_that_is_over_is_answered_with_409_and_leaves_the_claim_alone(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/hasty").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let start = Instant::now();
    let timed_out = call.send().await;
    timed_out.is_problem(409, "in-flight");
    assert!(timed_out.retry_after().is_some() && start.elapsed() >= Duration::from_millis(300));
    // The claim stands: a third caller does not run.
    let key = stage.store.claims().remove(0).key;
    assert!(matches!(stage.store.lookup(&key).await, Ok(Lookup::Running { left, .. }) if left > Duration::ZERO));
    call.send().await.is_problem(409, "in-flight");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    assert_eq!(server.runs.count(), 1);
}

async fn when_the_key_is_freed_one_waiter_runs_and_the_others_wait_on(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/").key("k").body("1");
    let first = call.start();
    server.runs.begun(1).await;
    let waiters: Vec<_> = (0..10).map(|_| call.start()).collect();
    claimed(&stage, 11).await;
    server.runs.open(1);
    assert_eq!(first.await.unwrap().status, 502);
    server.runs.begun(2).await;
    server.runs.open(2);
    let answers = join_all(waiters).await;
    let replayed = answers.iter().filter(|answer| answer.as_ref().unwrap().is_replayed()).count();
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().text() == "2"), "{answers:?}");
    assert_eq!((replayed, server.runs.count()), (9, 2));
}

async fn when_the_lease_ends_one_waiter_takes_over(stage: Stage) {
    let server = stage.serve(routes()).await;
    stage.store.fail(Op::Renew, Fault::Refuse);
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let waiters: Vec<_> = (0..10).map(|_| call.start()).collect();
    server.runs.begun(2).await;
    stage.store.heal();
    server.runs.open(2);
    let answers = join_all(waiters).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().text() == "2"), "{answers:?}");
    assert_eq!(server.runs.notes(), ["false", "true"]);
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

async fn a_waiter_of_another_request_does_not_wait(stage: Stage) {
    let server = stage.serve(routes()).await;
    let first = server.post("/").key("k").start();
    server.runs.begun(1).await;
    let start = Instant::now();
    server.post("/").key("k").body("another").send().await.is_problem(422, "key-reused");
    assert!(start.elapsed() < Duration::from_secs(40), "it waited");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

async fn a_waiter_whose_client_left_does_not_run(stage: Stage) {
    let server = stage.serve_with(stage.settings().max_in_flight(2), routes().route("/other", post(create))).await;
    let call = server.post("/").key("k").body("1");
    let first = call.start();
    server.runs.begun(1).await;
    let mut wire = server.wire().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 1\r\n\r\n1").await;
    claimed(&stage, 2).await;
    drop(wire);
    until("the waiter to make room", || async { server.post("/other").key("o").send().await.status == 201 }).await;
    server.runs.open(1);
    assert_eq!(first.await.unwrap().status, 502);
    server.idempotency.drain().await;
    // The first request ran, and the one to `/other`.
    assert_eq!(server.runs.count(), 2);
}

async fn a_waiter_is_refused_when_the_store_goes_down(stage: Stage) {
    let settings = stage.settings().outage(idempotent_runtime::Outage::RunUnprotected);
    let server = stage.serve_with(settings.store_timeout(Duration::from_secs(2)), routes()).await;
    let call = server.post("/long-lease").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let waiter = call.start();
    claimed(&stage, 2).await;
    stage.store.fail_all(Fault::Refuse);
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    // The key was known to be in use, so even a service that runs unprotected during an outage does not run the
    // handler.
    waiter.await.unwrap().is_problem(503, "store-unavailable");
    stage.store.heal();
    assert_eq!(server.runs.count(), 1);
}

async fn more_duplicates_than_may_wait_for_one_key_are_answered_at_once(stage: Stage) {
    let server = stage.serve_with(stage.settings().max_waiters(2), routes()).await;
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let start = Instant::now();
    // Whichever comes last finds no place.
    let (refused, _, waiting) = select_all([call.start(), call.start(), call.start()]).await;
    refused.unwrap().is_problem(409, "in-flight");
    assert!(start.elapsed() < Duration::from_secs(40), "it waited all the same");
    server.runs.open(2);
    server.post("/").key("another").send().await.is_run(2);
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    for duplicate in join_all(waiting).await {
        duplicate.unwrap().is_replay_of_run(1);
    }
}
