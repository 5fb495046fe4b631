//! Responses and steps that are encrypted in the store, and names that are hashed.

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode},
    routing::post,
};
use futures_util::future::join_all;
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    Claim, EncryptionKeys, IdempotencyBuilder, Inspection, RequestName, idempotent,
    store::{ClaimOutcome, ClaimRequest, ForgetOutcome, Lookup},
};

use crate::stage::{App, Runs, Stage, on_every_store};

on_every_store!(
    an_encrypted_response_is_replayed_and_nothing_of_it_stands_in_the_store,
    keys_rotate_and_no_replay_is_lost,
    keys_rotate_under_load_and_no_replay_is_lost,
    a_record_that_was_cut_or_changed_is_unreadable_and_nothing_runs,
    an_encrypted_request_is_inspected_and_forgotten,
    a_response_under_an_unknown_key_is_unreadable_and_nothing_runs,
    a_response_that_is_not_encrypted_is_unreadable_unless_that_is_accepted,
    a_record_that_is_moved_to_another_key_does_not_open,
    steps_are_encrypted_and_come_back,
    hashed_names_show_neither_key_nor_scope_and_support_still_finds_them,
);

const SECRET: &str = "4111-1111-1111-1111";

#[idempotent(ttl = "1h")]
async fn pay(State(runs): State<Runs>) -> (StatusCode, [(&'static str, &'static str); 1], String) {
    (StatusCode::CREATED, [("x-card", SECRET)], format!("{} {SECRET}", runs.begin()))
}

#[idempotent(ttl = "1h", scope = user)]
async fn pay_of(State(runs): State<Runs>, Json(user): Json<String>) -> String {
    format!("{user} {}", runs.begin())
}

/// Saves a step, and fails the first time.
#[idempotent(ttl = "1h")]
async fn in_steps(claim: Claim, State(runs): State<Runs>) -> Result<String, StatusCode> {
    let number = runs.begin();
    let step = claim.step("charge", || async { Ok::<_, StatusCode>(format!("{SECRET} by {number}")) });
    let charge = step.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    if number == 1 { Err(StatusCode::BAD_GATEWAY) } else { Ok(charge) }
}

fn routes() -> Router<App> {
    Router::new().route("/", post(pay)).route("/of", post(pay_of)).route("/steps", post(in_steps))
}

fn keys(ids: &[u8]) -> EncryptionKeys {
    EncryptionKeys::new(ids.iter().map(|id| (*id, [*id; 32])))
}

fn encrypted(stage: &Stage, ids: &[u8]) -> IdempotencyBuilder {
    stage.settings().encrypt(keys(ids))
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn stored(stage: &Stage) -> Vec<u8> {
    let attempt = stage.store.claims().pop().unwrap();
    match stage.store.lookup(&attempt.key).await.unwrap() {
        Lookup::Done { record, .. } => record.to_vec(),
        other => panic!("no record: {other:?}"),
    }
}

/// Somebody who can write to the store puts another record in place of the stored one.
async fn overwrite(stage: &Stage, attempt: &ClaimRequest, record: Vec<u8>) {
    stage.store.lose_done(attempt).await;
    stage.store.complete(attempt, u64::MAX >> 12, record.into()).await.unwrap();
}

async fn an_encrypted_response_is_replayed_and_nothing_of_it_stands_in_the_store(stage: Stage) {
    let server = stage.serve_with(encrypted(&stage, &[1]), routes()).await;
    let call = server.post("/").key("k");
    assert_eq!(call.send().await.status, 201);
    let replay = call.send().await;
    assert!(replay.is_replayed());
    assert_eq!((replay.text(), replay.line("x-card")), (format!("1 {SECRET}").as_str(), Some(SECRET)));
    assert!(!contains(&stored(&stage).await, "4111"));
}

async fn keys_rotate_and_no_replay_is_lost(stage: Stage) {
    let old = stage.serve_with(encrypted(&stage, &[1]), routes()).await;
    old.post("/").key("first").send().await;
    // Every process can open records of the new key before any process seals with it.
    let between = stage.serve_with(encrypted(&stage, &[1, 2]), routes()).await;
    let new = stage.serve_with(encrypted(&stage, &[2, 1]), routes()).await;
    new.post("/").key("second").send().await;
    for server in [&between, &new] {
        assert!(server.post("/").key("first").send().await.is_replayed());
        assert!(server.post("/").key("second").send().await.is_replayed());
    }
    assert_eq!(between.runs.count(), 0);
}

/// Two processes, one of them a deploy ahead of the other. Requests and their retries go to either.
async fn keys_rotate_under_load_and_no_replay_is_lost(stage: Stage) {
    let deploys: [&[u8]; 5] = [&[1], &[1, 2], &[2, 1], &[2, 1], &[2, 3]];
    let mut answers: Vec<(String, String)> = Vec::new();
    let mut runs = 0;
    for (deploy, pair) in deploys.windows(2).enumerate() {
        // The last deploy does not have the first key. Records sealed with that key would have expired by then, so
        // those of the first two deploys are not retried.
        let still_there = if deploy == 3 { 40 } else { 0 };
        let servers = [
            stage.serve_with(encrypted(&stage, pair[0]), routes()).await,
            stage.serve_with(encrypted(&stage, pair[1]), routes()).await,
        ];
        let send = |index: usize, key: String| {
            let call = servers[index % 2].post("/").key(&key);
            async move { (key, call.send().await) }
        };
        let new = (0..20).map(|number| send(number, format!("{deploy}-{number}")));
        let old = answers[still_there..].iter().enumerate().map(|(index, (key, _))| send(index, key.clone()));
        let (new, old) = tokio::join!(join_all(new), join_all(old));
        for ((key, answer), (_, body)) in old.iter().zip(&answers[still_there..]) {
            assert!(answer.is_replayed() && answer.text() == body, "{key} in deploy {deploy}: {answer:?}");
        }
        let retries = new.iter().enumerate().map(|(index, (key, _))| send(index + 1, key.clone()));
        for ((key, first), (_, retry)) in new.iter().zip(join_all(retries).await) {
            assert!(
                first.status == 201 && retry.is_replayed() && retry.body == first.body,
                "{key}: {first:?} {retry:?}"
            );
        }
        answers.extend(new.into_iter().map(|(key, answer)| (key, answer.text().to_owned())));
        runs += servers.iter().map(|server| server.runs.count()).sum::<usize>();
    }
    assert_eq!((runs, answers.len()), (80, 80));
}

async fn a_record_that_was_cut_or_changed_is_unreadable_and_nothing_runs(stage: Stage) {
    let server = stage.serve_with(encrypted(&stage, &[1]), routes()).await;
    let call = server.post("/").key("k");
    call.send().await;
    let record = stored(&stage).await;
    let attempt = stage.store.claims().pop().unwrap();
    let mut changed = record.clone();
    *changed.last_mut().unwrap() ^= 1;
    for damaged in [changed, record[..record.len() - 1].to_vec(), record[..1].to_vec()] {
        overwrite(&stage, &attempt, damaged).await;
        call.send().await.is_problem(500, "record-unreadable");
    }
    assert_eq!(server.runs.count(), 1);
    overwrite(&stage, &attempt, record).await;
    assert!(call.send().await.is_replayed());
}

async fn an_encrypted_request_is_inspected_and_forgotten(stage: Stage) {
    let server = stage.serve_with(encrypted(&stage, &[1]).hash_names([7; 32]), routes()).await;
    let call = server.post("/").key("k");
    call.send().await;
    let request = RequestName::new(Method::POST, "/", "k");
    let seen = server.idempotency.inspect(&request).await;
    assert!(matches!(seen, Ok(Inspection::Finished { status: StatusCode::CREATED, .. })), "{seen:?}");
    assert_eq!(server.idempotency.forget(&request).await.unwrap(), ForgetOutcome::Forgotten);
    assert_eq!((call.send().await.is_replayed(), server.runs.count()), (false, 2));
}

async fn a_response_under_an_unknown_key_is_unreadable_and_nothing_runs(stage: Stage) {
    let one = stage.serve_with(encrypted(&stage, &[1]), routes()).await;
    one.post("/").key("k").send().await;
    let other = stage.serve_with(encrypted(&stage, &[2]), routes()).await;
    other.post("/").key("k").send().await.is_problem(500, "record-unreadable");
    let without = stage.serve(routes()).await;
    without.post("/").key("k").send().await.is_problem(500, "record-unreadable");
    assert_eq!((other.runs.count(), without.runs.count()), (0, 0));
}

async fn a_response_that_is_not_encrypted_is_unreadable_unless_that_is_accepted(stage: Stage) {
    let before = stage.serve(routes()).await;
    before.post("/").key("k").send().await;
    let strict = stage.serve_with(encrypted(&stage, &[1]), routes()).await;
    strict.post("/").key("k").send().await.is_problem(500, "record-unreadable");
    let moving = stage.serve_with(stage.settings().encrypt(keys(&[1]).accept_unsealed()), routes()).await;
    assert!(moving.post("/").key("k").send().await.is_replayed());
    assert_eq!((strict.runs.count(), moving.runs.count()), (0, 0));
}

async fn a_record_that_is_moved_to_another_key_does_not_open(stage: Stage) {
    let server = stage.serve_with(encrypted(&stage, &[1]), routes()).await;
    server.post("/").key("mine").send().await;
    let record = stored(&stage).await;
    server.post("/").key("yours").send().await;
    let attempt = stage.store.claims().pop().unwrap();
    overwrite(&stage, &attempt, record).await;
    server.post("/").key("yours").send().await.is_problem(500, "record-unreadable");
    assert_eq!(server.runs.count(), 2);
}

async fn steps_are_encrypted_and_come_back(stage: Stage) {
    let server = stage.serve_with(encrypted(&stage, &[1]), routes()).await;
    let call = server.post("/steps").key("k");
    assert_eq!(call.send().await.status, 502);
    let failed = stage.store.claims().pop().unwrap();
    let other = ClaimRequest::new(failed.key.clone(), failed.fingerprint);
    match stage.store.claim(&other).await.unwrap() {
        ClaimOutcome::Acquired(held) => assert!(!held.steps.is_empty() && !contains(&held.steps, "4111")),
        other => panic!("the failed attempt still has the key: {other:?}"),
    }
    stage.store.abandon(&other).await.unwrap();
    assert_eq!(call.send().await.text(), format!("{SECRET} by 1"));
}

async fn hashed_names_show_neither_key_nor_scope_and_support_still_finds_them(stage: Stage) {
    let settings = stage.settings().namespace("pay").hash_names([7; 32]);
    let server = stage.serve_with(settings, routes()).await;
    let call = server.post("/of").key("order-4711").header("content-type", "application/json").body("\"alice\"");
    assert_eq!(call.send().await.text(), "alice 1");
    assert!(call.send().await.is_replayed());
    let name = stage.store.claims().pop().unwrap().key;
    assert!(!contains(name.as_str().as_bytes(), "4711") && !contains(name.as_str().as_bytes(), "alice"));
    let request = RequestName::new(Method::POST, "/of", "order-4711").scope("alice");
    assert!(matches!(server.idempotency.inspect(&request).await, Ok(Inspection::Finished { .. })));
    assert_eq!(server.idempotency.forget(&request).await.unwrap(), ForgetOutcome::Forgotten);
    assert_eq!(call.send().await.text(), "alice 2");
}
