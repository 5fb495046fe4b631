//! The options that a service sets for all its handlers, and that an attribute overrides.

use std::time::{Duration, SystemTime};

use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode},
    routing::post,
};
use idempotent_runtime::{Inspection, RequestName, Takeover, idempotent};

use crate::stage::{App, Runs, Stage, on_memory, until};

on_memory!(
    a_response_is_kept_for_the_ttl_of_the_service,
    an_attribute_keeps_its_own_ttl,
    a_duplicate_waits_as_long_as_the_service_says,
    an_attribute_that_must_not_wait_does_not,
    after_a_death_the_key_is_refused_where_the_service_says_so,
    an_attribute_may_run_again_where_the_service_refuses,
    a_claim_has_the_lease_of_the_service,
    a_dated_key_expires_by_the_ttl_of_the_service,
);

#[idempotent]
async fn plain(State(runs): State<Runs>, way: String) -> (StatusCode, String) {
    run(&runs, &way).await
}

#[idempotent(ttl = "24h", lease = "30s", wait = "0s", takeover = "rerun")]
async fn own(State(runs): State<Runs>, way: String) -> (StatusCode, String) {
    run(&runs, &way).await
}

#[idempotent(key = "ulid")]
async fn dated(State(runs): State<Runs>) -> (StatusCode, String) {
    (StatusCode::CREATED, runs.begin().to_string())
}

async fn run(runs: &Runs, way: &str) -> (StatusCode, String) {
    let number = runs.begin();
    match way {
        "held" => runs.hold(number).await,
        "panics once" if number == 1 => panic!("an expected panic of the test's handler"),
        _ => {}
    }
    (StatusCode::CREATED, number.to_string())
}

fn routes() -> Router<App> {
    Router::new().route("/plain", post(plain)).route("/own", post(own)).route("/dated", post(dated))
}

const BRIEF: Duration = Duration::from_millis(200);

async fn a_response_is_kept_for_the_ttl_of_the_service(stage: Stage) {
    let server = stage.serve_with(stage.settings().ttl(BRIEF), routes()).await;
    let call = server.post("/plain").key("k");
    call.send().await.is_run(1);
    until("the response has expired", || async { call.send().await.text() == "2" }).await;
}

async fn an_attribute_keeps_its_own_ttl(stage: Stage) {
    let server = stage.serve_with(stage.settings().ttl(BRIEF), routes()).await;
    let call = server.post("/own").key("k");
    call.send().await.is_run(1);
    tokio::time::sleep(BRIEF * 2).await;
    call.send().await.is_replay_of_run(1);
}

async fn a_duplicate_waits_as_long_as_the_service_says(stage: Stage) {
    let server = stage.serve_with(stage.settings().wait(Duration::from_secs(20)), routes()).await;
    let call = server.post("/plain").key("k").body("held");
    let first = call.start();
    server.runs.begun(1).await;
    let duplicate = call.start();
    tokio::time::sleep(BRIEF).await;
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    duplicate.await.unwrap().is_replay_of_run(1);
}

async fn an_attribute_that_must_not_wait_does_not(stage: Stage) {
    let server = stage.serve_with(stage.settings().wait(Duration::from_secs(20)), routes()).await;
    let call = server.post("/own").key("k").body("held");
    let first = call.start();
    server.runs.begun(1).await;
    call.send().await.is_problem(409, "in-flight");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

async fn after_a_death_the_key_is_refused_where_the_service_says_so(stage: Stage) {
    let server = stage.serve_with(stage.settings().takeover(Takeover::Refuse), routes()).await;
    let call = server.post("/plain").key("k").body("panics once");
    call.start().await.unwrap_err();
    call.send().await.is_problem(409, "outcome-unknown");
}

async fn an_attribute_may_run_again_where_the_service_refuses(stage: Stage) {
    let server = stage.serve_with(stage.settings().takeover(Takeover::Refuse), routes()).await;
    let call = server.post("/own").key("k").body("panics once");
    call.start().await.unwrap_err();
    call.send().await.is_run(2);
}

async fn a_claim_has_the_lease_of_the_service(stage: Stage) {
    let lease = Duration::from_secs(7);
    let server = stage.serve_with(stage.settings().lease(lease), routes()).await;
    let first = server.post("/plain").key("k").body("held").start();
    server.runs.begun(1).await;
    let seen = server.idempotency.inspect(&RequestName::new(Method::POST, "/plain", "k")).await.unwrap();
    assert!(matches!(seen, Inspection::Running { left } if left <= lease), "{seen:?}");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

/// A ULID of this moment, whose other 80 bits are zero.
fn ulid(at: SystemTime) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let millis = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let time = (0..10).rev().map(|place| char::from(DIGITS[(millis >> (5 * place)) as usize & 31]));
    time.chain("0".repeat(16).chars()).collect()
}

async fn a_dated_key_expires_by_the_ttl_of_the_service(stage: Stage) {
    let server = stage.serve_with(stage.settings().ttl(Duration::from_secs(60)), routes()).await;
    let now = SystemTime::now();
    server.post("/dated").key(ulid(now)).send().await.is_run(1);
    server.post("/dated").key(ulid(now).to_lowercase()).send().await.is_replay_of_run(1);
    server.post("/dated").key(ulid(now - Duration::from_secs(61))).send().await.is_problem(400, "key-expired");
    server.post("/dated").key("a key").send().await.is_problem(400, "key-invalid");
}
