//! A store that is down, is slow or loses records: before, during and after the handler.

use std::time::{Duration, Instant};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{Claim, IdempotencyBuilder, MemoryStore, Outage, idempotent, store::Lookup};

use crate::stage::{Answer, App, Call, Fault, Op, Runs, Stage, create, on_every_store, soon, until};

on_every_store!(
    a_store_that_is_down_before_the_handler_is_a_503_and_nothing_runs,
    a_store_that_hangs_is_a_503_within_the_time_out,
    a_response_is_sent_once_it_is_stored,
    a_lost_answer_to_a_claim_is_no_conflict_with_itself,
    a_claim_without_an_answer_is_set_free_again,
    a_store_that_is_down_after_the_effect_does_not_change_the_answer,
    a_lost_answer_to_a_completion_changes_nothing,
    a_response_is_stored_behind_its_answer_also_past_the_lease,
    a_response_stored_too_late_does_not_overwrite_the_new_owners,
    a_failure_that_the_store_did_not_take_frees_the_key_later,
    in_an_outage_a_service_may_run_unprotected,
    what_ran_unprotected_is_stored_when_the_store_is_back,
    a_ghost_of_an_unprotected_run_becomes_its_claim,
);

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/", post(create)).route("/held", post(held))
}

#[idempotent(ttl = "1h", lease = "3s")]
async fn held(State(runs): State<Runs>) -> (StatusCode, String) {
    (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
}

pub(crate) fn hasty(stage: &Stage) -> IdempotencyBuilder {
    stage.settings().store_timeout(Duration::from_secs(1))
}

/// Sends until the answer is neither 409 nor 503.
async fn settled(call: &Call) -> Answer {
    soon("the key to be settled or free", async {
        loop {
            let answer = call.send().await;
            if !matches!(answer.status, 409 | 503) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Waits until the response of the first request is stored, which may happen after it was sent.
async fn stored(stage: &Stage) {
    let key = stage.store.claims().remove(0).key;
    let is_done = || async { matches!(stage.store.lookup(&key).await, Ok(Lookup::Done { .. })) };
    until("the response to be stored", is_done).await;
}

async fn a_store_that_is_down_before_the_handler_is_a_503_and_nothing_runs(stage: Stage) {
    let server = stage.serve_with(hasty(&stage), routes()).await;
    let call = server.post("/").key("k");
    stage.store.fail_all(Fault::Refuse);
    let answer = call.send().await;
    answer.is_problem(503, "store-unavailable");
    assert_eq!((answer.retry_after(), server.runs.count()), (Some(1), 0));
    stage.store.heal();
    settled(&call).await.is_run(1);
}

async fn a_store_that_hangs_is_a_503_within_the_time_out(stage: Stage) {
    let server = stage.serve_with(hasty(&stage), routes()).await;
    stage.store.fail_all(Fault::Hang);
    let start = Instant::now();
    server.post("/").key("k").send().await.is_problem(503, "store-unavailable");
    // Far below the 7 to 10 seconds of other middlewares, with room for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(server.runs.count(), 0);
}

async fn a_response_is_sent_once_it_is_stored(stage: Stage) {
    let server = stage.serve(routes()).await;
    stage.store.fail(Op::Complete, Fault::Hold);
    let first = server.post("/").key("k").start();
    until("the response to be on its way to the store", || async { stage.store.calls(Op::Complete) == 1 }).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!first.is_finished(), "a client that has the response could lose it and come back too early");
    stage.store.heal();
    first.await.unwrap().is_run(1);
    server.post("/").key("k").send().await.is_replay_of_run(1);
}

async fn a_lost_answer_to_a_claim_is_no_conflict_with_itself(stage: Stage) {
    let server = stage.serve(routes()).await;
    for (number, fault) in [Fault::LoseAnswer, Fault::Refuse].into_iter().enumerate() {
        let call = server.post("/").key(format!("k-{number}"));
        stage.store.fail_once(Op::Claim, fault);
        call.send().await.is_run(number + 1);
        call.send().await.is_replay_of_run(number + 1);
    }
    assert_eq!(server.runs.count(), 2);
}

async fn a_claim_without_an_answer_is_set_free_again(stage: Stage) {
    let server = stage.serve_with(hasty(&stage), routes()).await;
    let call = server.post("/").key("k");
    // The store makes the claim, and its answer never comes.
    stage.store.fail(Op::Claim, Fault::HangAfter);
    call.send().await.is_problem(503, "store-unavailable");
    assert_eq!(server.runs.count(), 0);
    stage.store.heal();
    // The lease of that claim would last 30 seconds.
    let start = Instant::now();
    settled(&call).await.is_run(1);
    assert!(start.elapsed() < Duration::from_secs(20), "only the lease ended it");
}

async fn a_store_that_is_down_after_the_effect_does_not_change_the_answer(stage: Stage) {
    let server = stage.serve_with(hasty(&stage), routes()).await;
    let call = server.post("/held").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    stage.store.fail_all(Fault::Refuse);
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    call.send().await.is_problem(503, "store-unavailable");
    stage.store.heal();
    settled(&call).await.is_replay_of_run(1);
    assert_eq!(server.runs.count(), 1);
}

async fn a_lost_answer_to_a_completion_changes_nothing(stage: Stage) {
    let server = stage.serve(routes()).await;
    stage.store.fail_once(Op::Complete, Fault::LoseAnswer);
    server.post("/").key("k").send().await.is_run(1);
    server.post("/").key("k").send().await.is_replay_of_run(1);
    assert_eq!(stage.store.calls(Op::Complete), 2);
}

async fn a_response_is_stored_behind_its_answer_also_past_the_lease(stage: Stage) {
    let server = stage.serve_with(hasty(&stage), routes()).await;
    let call = server.post("/held").key("k");
    stage.store.fail(Op::Complete, Fault::Refuse);
    stage.store.fail(Op::Renew, Fault::Refuse);
    server.runs.open(1);
    call.send().await.is_run(1);
    let key = stage.store.claims().remove(0).key;
    until("the lease to be over", || async {
        matches!(stage.store.lookup(&key).await, Ok(Lookup::Running { left: Duration::ZERO, .. }))
    })
    .await;
    stage.store.heal();
    stored(&stage).await;
    settled(&call).await.is_replay_of_run(1);
}

async fn a_response_stored_too_late_does_not_overwrite_the_new_owners(stage: Stage) {
    let server = stage.serve_with(hasty(&stage), routes()).await;
    let call = server.post("/held").key("k");
    stage.store.fail(Op::Complete, Fault::Refuse);
    stage.store.fail(Op::Renew, Fault::Refuse);
    server.runs.open(1);
    server.runs.open(3);
    call.send().await.is_run(1);
    // The lease ends, and a second attempt claims the key.
    let second = tokio::spawn(async move { settled(&call).await });
    server.runs.begun(2).await;
    stage.store.heal();
    // Meanwhile the first attempt's response is sent to the store again, and the store refuses it.
    let offered = stage.store.calls(Op::Complete);
    until("the late response to be offered", || async { stage.store.calls(Op::Complete) > offered }).await;
    server.runs.open(2);
    second.await.unwrap().is_run(2);
    settled(&server.post("/held").key("k")).await.is_replay_of_run(2);
}

async fn a_failure_that_the_store_did_not_take_frees_the_key_later(stage: Stage) {
    #[idempotent(ttl = "1h")]
    async fn fails_once(State(runs): State<Runs>) -> (StatusCode, String) {
        let number = runs.begin();
        let status = if number == 1 { StatusCode::BAD_GATEWAY } else { StatusCode::CREATED };
        (status, number.to_string())
    }
    let server = stage.serve_with(hasty(&stage), Router::new().route("/", post(fails_once))).await;
    let call = server.post("/").key("k");
    stage.store.fail(Op::Release, Fault::Refuse);
    assert_eq!(call.send().await.status, 502);
    call.send().await.is_problem(409, "in-flight");
    stage.store.heal();
    settled(&call).await.is_run(2);
}

#[idempotent(ttl = "1h", lease = "1s")]
async fn tells_whether_protected(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
    runs.note(format!("{:?} {} {}", claim.key(), claim.protected(), claim.fence()));
    (StatusCode::CREATED, runs.begin().to_string())
}

async fn in_an_outage_a_service_may_run_unprotected(stage: Stage) {
    let settings = hasty(&stage).outage(Outage::RunUnprotected);
    let server = stage.serve_with(settings, Router::new().route("/", post(tells_whether_protected))).await;
    stage.store.fail_all(Fault::Refuse);
    server.post("/").key("k").send().await.is_run(1);
    assert_eq!(server.runs.notes(), ["Some(\"k\") false 0"]);
    stage.store.heal();
}

async fn what_ran_unprotected_is_stored_when_the_store_is_back(stage: Stage) {
    let settings = hasty(&stage).outage(Outage::RunUnprotected);
    let server = stage.serve_with(settings, routes()).await;
    stage.store.fail_all(Fault::Refuse);
    let first = server.post("/held").key("k").start();
    server.runs.begun(1).await;
    stage.store.heal();
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    stored(&stage).await;
    settled(&server.post("/held").key("k")).await.is_replay_of_run(1);
}

async fn a_ghost_of_an_unprotected_run_becomes_its_claim(stage: Stage) {
    let settings = hasty(&stage).outage(Outage::RunUnprotected);
    let server = stage.serve_with(settings, routes()).await;
    let call = server.post("/held").key("k");
    stage.store.fail(Op::Claim, Fault::HangAfter);
    let first = call.start();
    server.runs.begun(1).await;
    stage.store.heal();
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    stored(&stage).await;
    settled(&call).await.is_replay_of_run(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_store_that_is_full_refuses_new_keys_and_forgets_none() {
    for outage in [Outage::Refuse, Outage::RunUnprotected] {
        let stage = Stage::memory_of(MemoryStore::builder().max_records(2).build());
        let server = stage.serve_with(stage.settings().outage(outage), routes()).await;
        server.post("/").key("a").send().await.is_run(1);
        server.post("/").key("b").send().await.is_run(2);
        let full = server.post("/").key("c").send().await;
        full.is_problem(503, "store-full");
        assert_eq!(full.retry_after(), Some(1));
        server.post("/").key("a").send().await.is_replay_of_run(1);
        server.post("/").key("b").send().await.is_replay_of_run(2);
        assert_eq!(server.runs.count(), 2);
    }
}
