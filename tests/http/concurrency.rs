//! Many requests at once.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use futures_util::future::join_all;
use idempotent_runtime::{Claim, idempotent};
use tokio::task::JoinHandle;

use crate::stage::{Answer, Call, Runs, Stage, create, on_every_store, soon};

on_every_store!(
    a_hundred_at_once_run_once,
    a_thousand_at_once_run_once,
    a_thousand_waiters_run_once_and_all_get_the_response,
    keys_that_expire_under_load_never_run_unclaimed,
    no_key_waits_for_another_keys_handler,
    many_keys_at_once_each_run_once,
);

#[idempotent(ttl = "24h")]
async fn held(State(runs): State<Runs>) -> (StatusCode, String) {
    (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
}

#[idempotent(ttl = "24h", wait = "1h")]
async fn waited_for(State(runs): State<Runs>) -> (StatusCode, String) {
    (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
}

fn at_once(call: &Call, requests: usize) -> Vec<JoinHandle<Answer>> {
    (0..requests).map(|_| call.start()).collect()
}

/// All requests but the first are answered while the first one runs.
async fn run_once(stage: &Stage, requests: usize) {
    let server = stage.serve(Router::new().route("/", post(held))).await;
    let call = server.post("/").key("k");
    let mut calls = at_once(&call, requests);
    soon("all but one to be answered", async {
        while calls.iter().filter(|call| !call.is_finished()).count() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let first = calls.swap_remove(calls.iter().position(|call| !call.is_finished()).expect("the first one runs"));
    for duplicate in join_all(calls).await {
        duplicate.unwrap().is_problem(409, "in-flight");
    }
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    assert_eq!(server.runs.count(), 1);
    for replay in join_all(at_once(&call, requests)).await {
        replay.unwrap().is_replay_of_run(1);
    }
    assert_eq!(server.runs.count(), 1);
}

async fn a_hundred_at_once_run_once(stage: Stage) {
    run_once(&stage, 100).await;
}

async fn a_thousand_at_once_run_once(stage: Stage) {
    run_once(&stage, 1_000).await;
}

async fn a_thousand_waiters_run_once_and_all_get_the_response(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(waited_for))).await;
    let calls = at_once(&server.post("/").key("k"), 1_000);
    server.runs.begun(1).await;
    server.runs.open(1);
    let answers = join_all(calls).await;
    let replayed = answers.iter().filter(|answer| answer.as_ref().unwrap().is_replayed()).count();
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().text() == "1"));
    assert_eq!((replayed, server.runs.count()), (999, 1));
}

/// The record expires again and again while duplicates look for it.
async fn keys_that_expire_under_load_never_run_unclaimed(stage: Stage) {
    // Long enough for a heartbeat to come in time on a busy machine. If it does not, the next attempt is told so.
    #[idempotent(ttl = "1s", lease = "1s")]
    async fn alone(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
        let number = runs.begin();
        let others = number - runs.finished();
        if others != 1 && !claim.recovering() {
            runs.note(format!("{others} at once"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        runs.end();
        (StatusCode::CREATED, number.to_string())
    }
    let server = stage.serve(Router::new().route("/", post(alone))).await;
    let call = server.post("/").key("k");
    let clients = (0..16).map(|_| {
        let (call, runs) = (call.clone(), server.runs.clone());
        tokio::spawn(async move {
            while runs.count() < 5 {
                let answer = call.send().await;
                // 503: on a busy machine a database may not answer within the lease.
                assert!(matches!(answer.status, 201 | 409 | 503), "{answer:?}");
            }
        })
    });
    for client in soon("five records to expire", join_all(clients)).await {
        client.unwrap();
    }
    assert_eq!(server.runs.notes(), [""; 0], "two ran at once");
}

async fn no_key_waits_for_another_keys_handler(stage: Stage) {
    let routes = Router::new().route("/held", post(held)).route("/", post(create));
    let server = stage.serve(routes).await;
    let holding: Vec<_> = (0..50).map(|key| server.post("/held").key(format!("k-{key}")).start()).collect();
    server.runs.begun(50).await;
    for key in 0..50 {
        assert_eq!(server.post("/").key(format!("other-{key}")).send().await.status, 201);
    }
    assert!(holding.iter().all(|call| !call.is_finished()));
    (1..=50).for_each(|number| server.runs.open(number));
    for call in holding {
        assert_eq!(call.await.unwrap().status, 201);
    }
}

async fn many_keys_at_once_each_run_once(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    let calls = (0..400).map(|index| server.post("/").key(format!("k-{}", index % 40)).start());
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|answer| matches!(answer.as_ref().unwrap().status, 201 | 409)));
    assert_eq!(server.runs.count(), 40);
}
