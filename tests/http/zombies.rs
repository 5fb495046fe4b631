//! Attempts that were taken for dead but are alive: what they still send to the store must not count.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{Claim, idempotent, store::Lookup};
use tokio::task::JoinHandle;

use crate::{
    leases::{KEPT, cut_heartbeats, routes, when_the_lease_is_over},
    stage::{Answer, Call, Fault, Op, Runs, Server, Stage, on_every_store, until},
};

on_every_store!(
    a_late_response_is_sent_but_never_overwrites_the_new_owners,
    a_late_failure_does_not_free_the_new_owners_key,
    a_late_panic_does_not_end_the_new_owners_lease,
    a_claim_that_lost_its_lease_is_told_so,
    an_attempt_beyond_its_limit_is_told_so_and_may_be_taken_over,
    a_claim_that_is_never_lost_is_never_told_so,
    a_claim_paused_before_the_store_does_not_overwrite_what_finished_meanwhile,
    a_completion_paused_before_the_store_does_not_overwrite_what_finished_meanwhile,
    a_record_that_a_store_lost_is_created_again_by_the_heartbeat,
    a_takeover_that_a_store_lost_is_still_known_as_one,
);

/// Starts an attempt that still runs after another one has taken its key over and finished.
async fn overtaken(stage: &Stage, server: &Server, call: &Call) -> JoinHandle<Answer> {
    cut_heartbeats(stage);
    let first = call.start();
    server.runs.begun(1).await;
    server.runs.open(2);
    when_the_lease_is_over(call).await.is_run(2);
    first
}

async fn a_late_response_is_sent_but_never_overwrites_the_new_owners(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/").key("k");
    let first = overtaken(&stage, &server, &call).await;
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    call.send().await.is_replay_of_run(2);
}

/// Fails late, and panics if the body says so.
#[idempotent(ttl = "1h", lease = "3s")]
async fn first_one_fails(State(runs): State<Runs>, how: String) -> (StatusCode, String) {
    let number = runs.begin_and_hold().await;
    assert!(number != 1 || how != "panic", "an expected panic of the test's handler");
    let status = if number == 1 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::CREATED };
    (status, number.to_string())
}

/// The first attempt fails while the one that took its key over is running.
async fn fails_late(stage: &Stage, how: &'static str) {
    let server = stage.serve(Router::new().route("/", post(first_one_fails))).await;
    cut_heartbeats(stage);
    let call = server.post("/").key("k").body(how);
    let retry = call.clone();
    let first = tokio::spawn(async move { call.try_send().await });
    server.runs.begun(1).await;
    let second = retry.clone();
    let second = tokio::spawn(async move { when_the_lease_is_over(&second).await });
    server.runs.begun(2).await;
    // From here on the second attempt has the lease, and its heartbeats reach the store.
    stage.store.heal();
    server.runs.open(1);
    let failed = first.await.unwrap();
    assert!(failed.is_err() || failed.is_ok_and(|answer| answer.status == 500));
    retry.send().await.is_problem(409, "in-flight");
    server.runs.open(2);
    second.await.unwrap().is_run(2);
    retry.send().await.is_replay_of_run(2);
    assert_eq!(server.runs.count(), 2);
}

async fn a_late_failure_does_not_free_the_new_owners_key(stage: Stage) {
    fails_late(&stage, "error").await;
}

async fn a_late_panic_does_not_end_the_new_owners_lease(stage: Stage) {
    fails_late(&stage, "panic").await;
}

#[idempotent(ttl = "1h", lease = "1s")]
async fn waits_to_be_lost(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
    wait_to_be_lost(&claim, &runs).await
}

/// The same under a lease of [`KEPT`].
#[idempotent(ttl = "1h", lease = "3s")]
async fn waits_in_vain(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
    wait_to_be_lost(&claim, &runs).await
}

async fn wait_to_be_lost(claim: &Claim, runs: &Runs) -> (StatusCode, String) {
    let number = runs.begin();
    if number == 1 {
        tokio::select! {
            () = claim.lost() => runs.note("lost"),
            () = runs.hold(1) => runs.note("not lost"),
        }
        runs.end();
        runs.hold(1).await;
    }
    (StatusCode::CREATED, number.to_string())
}

async fn a_claim_that_lost_its_lease_is_told_so(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(waits_to_be_lost))).await;
    cut_heartbeats(&stage);
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.ended(1).await;
    assert_eq!(server.runs.notes(), ["lost"]);
    // No other attempt took the key, so its response is stored even so.
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    call.send().await.is_replay_of_run(1);
}

async fn an_attempt_beyond_its_limit_is_told_so_and_may_be_taken_over(stage: Stage) {
    let settings = stage.settings().max_attempt(Duration::from_millis(500));
    let server = stage.serve_with(settings, Router::new().route("/", post(waits_to_be_lost))).await;
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.ended(1).await;
    assert_eq!(server.runs.notes(), ["lost"]);
    when_the_lease_is_over(&call).await.is_run(2);
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    call.send().await.is_replay_of_run(2);
}

async fn a_claim_that_is_never_lost_is_never_told_so(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(waits_in_vain))).await;
    let first = server.post("/").key("k").start();
    server.runs.begun(1).await;
    tokio::time::sleep(KEPT + KEPT / 2).await;
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    assert_eq!(server.runs.notes(), ["not lost"]);
}

async fn a_claim_paused_before_the_store_does_not_overwrite_what_finished_meanwhile(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/").key("k");
    stage.store.fail_once(Op::Claim, Fault::Hold);
    // Another fault has to stay in place: the held claim goes on when no fault is left.
    stage.store.fail(Op::Now, Fault::Hang);
    let paused = call.start();
    until("the claim to be on its way", || async { stage.store.calls(Op::Claim) == 1 }).await;
    server.runs.open(1);
    call.send().await.is_run(1);
    stage.store.heal();
    paused.await.unwrap().is_replay_of_run(1);
    assert_eq!(server.runs.count(), 1);
}

async fn a_completion_paused_before_the_store_does_not_overwrite_what_finished_meanwhile(stage: Stage) {
    let server = stage.serve(routes()).await;
    cut_heartbeats(&stage);
    stage.store.fail_once(Op::Complete, Fault::Hold);
    server.runs.open(1);
    server.runs.open(2);
    let call = server.post("/").key("k");
    let paused = call.start();
    until("the completion to be on its way", || async { stage.store.calls(Op::Complete) == 1 }).await;
    when_the_lease_is_over(&call).await.is_run(2);
    stage.store.heal();
    paused.await.unwrap().is_run(1);
    call.send().await.is_replay_of_run(2);
}

async fn a_record_that_a_store_lost_is_created_again_by_the_heartbeat(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/kept").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let attempt = stage.store.claims().remove(0);
    // The record is gone, as after a flush.
    stage.store.lose(&attempt).await;
    until("the heartbeat to create it again", || async {
        matches!(stage.store.lookup(&attempt.key).await, Ok(Lookup::Running { .. }))
    })
    .await;
    call.send().await.is_problem(409, "in-flight");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    call.send().await.is_replay_of_run(1);
}

/// The first attempt panics, the second one fails, and the third one succeeds.
#[idempotent(ttl = "1h", lease = "3s")]
async fn dies_fails_succeeds(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
    let number = runs.begin();
    runs.note(claim.recovering().to_string());
    assert!(number != 1, "an expected panic of the test's handler");
    runs.hold(number).await;
    let status = if number == 2 { StatusCode::BAD_GATEWAY } else { StatusCode::CREATED };
    (status, number.to_string())
}

async fn a_takeover_that_a_store_lost_is_still_known_as_one(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(dies_fails_succeeds))).await;
    let call = server.post("/").key("k");
    assert!(call.try_send().await.is_err());
    let retry = call.clone();
    let second = tokio::spawn(async move { when_the_lease_is_over(&retry).await });
    server.runs.begun(2).await;
    let attempt = stage.store.claims().pop().unwrap();
    stage.store.lose(&attempt).await;
    until("the heartbeat to create it again", || async { stage.store.is_running(&attempt).await }).await;
    server.runs.open(2);
    assert_eq!(second.await.unwrap().status, 502);
    server.runs.open(3);
    when_the_lease_is_over(&call).await.is_run(3);
    assert_eq!(server.runs.notes(), ["false", "true", "true"], "who came after it was not told of the first one");
}
