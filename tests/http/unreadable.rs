//! Records that cannot be read: nothing runs.

use bytes::Bytes;
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    Outage,
    store::{CompleteOutcome, ReleaseOutcome, SaveOutcome},
};

use crate::{
    leases::{cut_heartbeats, when_the_lease_is_over},
    outages::{hasty, routes},
    stage::{Call, Fault, Op, Server, Stage, on_every_store},
};

on_every_store!(
    a_record_that_cannot_be_read_never_runs,
    a_record_of_a_later_version_never_runs,
    unprotected_means_never_after_an_unreadable_record,
    steps_of_a_later_layout_are_unreadable_and_not_absent,
);

/// Puts a record that the engine did not write under the key of a request.
async fn plant(stage: &Stage, server: &Server, call: &Call, record: &'static [u8]) {
    let first = call.start();
    server.runs.begun(1).await;
    let attempt = stage.store.claims().remove(0);
    let planted = stage.store.complete(&attempt, 1, Bytes::from_static(record)).await;
    assert_eq!(planted.unwrap(), CompleteOutcome::Stored);
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

async fn a_record_that_cannot_be_read_never_runs(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/held").key("k");
    plant(&stage, &server, &call, b"\x01\xff\xff\xff\xff\xff").await;
    for _ in 0..3 {
        call.send().await.is_problem(500, "record-unreadable");
    }
    assert_eq!(server.runs.count(), 1);
}

async fn a_record_of_a_later_version_never_runs(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/held").key("k");
    plant(&stage, &server, &call, b"\x02from the future").await;
    call.send().await.is_problem(500, "record-unreadable");
    assert_eq!(server.runs.count(), 1);
}

async fn unprotected_means_never_after_an_unreadable_record(stage: Stage) {
    let settings = hasty(&stage).outage(Outage::RunUnprotected);
    let server = stage.serve_with(settings, routes()).await;
    let call = server.post("/held").key("k");
    plant(&stage, &server, &call, b"\x01\xff").await;
    call.send().await.is_problem(500, "record-unreadable");
    assert_eq!(server.runs.count(), 1);
}

/// A later version of this library may have saved such steps before its process died.
async fn steps_of_a_later_layout_are_unreadable_and_not_absent(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/held").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let attempt = stage.store.claims().remove(0);
    let saved = stage.store.save_steps(&attempt, 1, Bytes::from_static(b"\x02from the future")).await;
    assert_eq!(saved.unwrap(), SaveOutcome::Saved);
    cut_heartbeats(&stage);
    assert_eq!(stage.store.abandon(&attempt).await.unwrap(), ReleaseOutcome::Ended);
    // Each attempt that is refused gives up its lease in the background, after its answer.
    for _ in 0..2 {
        when_the_lease_is_over(&call).await.is_problem(500, "record-unreadable");
    }
    assert_eq!(server.runs.count(), 1);
    first.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_in_redis_that_is_not_ours_never_runs() {
    let stage = Stage::redis().await;
    let server = stage.serve(routes()).await;
    let call = server.post("/").key("k");
    call.send().await.is_run(1);
    let key = stage.store.claims().remove(0).key;
    let redis = stage.redis.as_ref().unwrap();
    redis.set(&["SET", key.as_str(), "not ours"]);
    call.send().await.is_problem(500, "record-unreadable");
    redis.set(&["SET", key.as_str(), "not ours", "EX", "1000"]);
    call.send().await.is_problem(500, "record-unreadable");
    assert_eq!(server.runs.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_in_redis_that_would_never_expire_never_runs() {
    let stage = Stage::redis().await;
    let server = stage.serve(routes()).await;
    stage.store.fail(Op::Renew, Fault::Refuse);
    let call = server.post("/held").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let key = stage.store.claims().remove(0).key;
    stage.redis.as_ref().unwrap().set(&["PERSIST", key.as_str()]);
    call.send().await.is_problem(500, "record-unreadable");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}
