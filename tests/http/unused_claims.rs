//! Claims that nobody uses, because a later call failed: each is released, and the next attempt learns of no death.

use axum::{Extension, Router, extract::State, http::StatusCode, routing::post};
use idempotent_runtime::{Claim, CommitError, Committed, Outage, idempotent};
use sqlx::SqlitePool;

use crate::{
    outages::hasty,
    stage::{Fault, Op, Runs, Stage, on_memory, until},
};

on_memory!(
    a_claim_whose_answer_was_lost_is_released_though_the_store_is_full_since,
    a_claim_whose_answer_was_lost_is_released_though_the_store_forbids_the_next_try,
    a_claim_that_was_taken_over_to_store_a_committed_response_is_released_if_it_cannot_be_stored,
);

#[idempotent(ttl = "1h", lease = "10m", takeover = "refuse")]
async fn pay(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
    assert!(!claim.recovering(), "no attempt has died");
    (StatusCode::CREATED, runs.begin().to_string())
}

/// The store makes the claim and its answer is lost. Then it answers in another way.
async fn lost_then(stage: Stage, fault: Fault, outage: Outage) {
    let settings = hasty(&stage).outage(outage);
    let server = stage.serve_with(settings, Router::new().route("/", post(pay))).await;
    let call = server.post("/").key("k");
    stage.store.fail_once(Op::Claim, Fault::LoseAnswer);
    stage.store.fail_once(Op::Claim, fault);
    call.send().await.is_problem(503, "store-unavailable");
    let claim = stage.store.claims().remove(0);
    until("the claim to be released", || async { !stage.store.is_running(&claim).await }).await;
    call.send().await.is_run(1);
}

async fn a_claim_whose_answer_was_lost_is_released_though_the_store_is_full_since(stage: Stage) {
    lost_then(stage, Fault::Full, Outage::Refuse).await;
}

async fn a_claim_whose_answer_was_lost_is_released_though_the_store_forbids_the_next_try(stage: Stage) {
    // During an outage this service would run, but this is none.
    lost_then(stage, Fault::Forbid, Outage::RunUnprotected).await;
}

#[idempotent(ttl = "1h", lease = "10m", takeover = "refuse")]
async fn commits(
    claim: Claim,
    State(runs): State<Runs>,
    Extension(db): Extension<SqlitePool>,
) -> Result<Committed, CommitError> {
    let tx = db.begin().await?;
    claim.commit(tx, (StatusCode::CREATED, runs.begin().to_string())).await
}

async fn a_claim_that_was_taken_over_to_store_a_committed_response_is_released_if_it_cannot_be_stored(stage: Stage) {
    let (journal, db, _directory) = support::sql_store::on_sqlite_with_pool().await;
    let routes = Router::new().route("/", post(commits)).layer(Extension(db));
    let server = stage.serve_with(hasty(&stage).commit_to(journal), routes).await;
    let call = server.post("/").key("k");
    call.send().await.is_run(1);
    // As if the process had been killed after its COMMIT.
    let attempt = stage.store.claims().pop().unwrap();
    stage.store.lose_done(&attempt).await;
    stage.store.die(&attempt).await;
    stage.store.fail(Op::Complete, Fault::Hang);
    call.send().await.is_replay_of_run(1);
    stage.store.heal();
    let claim = stage.store.claims().pop().unwrap();
    until("the claim to be released", || async { !stage.store.is_running(&claim).await }).await;
    call.send().await.is_replay_of_run(1);
    assert_eq!(server.runs.count(), 1);
}
