//! Keys that contain their time: in the future, fresh, and older than the ttl.

use std::time::{Duration, SystemTime};

use axum::{Extension, Router, extract::State, http::StatusCode, routing::post};
use idempotent_runtime::{Claim, CommitError, Committed, idempotent};
use sqlx::SqlitePool;
use uuid::{NoContext, Timestamp, Uuid};

use crate::stage::{App, Processes, Runs, Stage, on_every_store};

on_every_store!(
    a_dated_key_from_the_future_is_refused,
    a_dated_key_older_than_the_ttl_never_runs_but_is_still_answered,
    a_dated_key_older_than_the_ttl_whose_attempt_runs_is_in_flight,
    a_dated_key_older_than_the_ttl_whose_attempt_died_is_outcome_unknown,
    a_dated_key_older_than_the_ttl_is_answered_from_the_journal,
);

const TTL: Duration = Duration::from_secs(4);

#[idempotent(ttl = "4s", lease = "3s", key = "uuidv7")]
async fn dated(State(runs): State<Runs>, way: String) -> (StatusCode, String) {
    let number = runs.begin();
    match way.as_str() {
        "held" => runs.hold(number).await,
        "panics" => panic!("an expected panic of the test's handler"),
        _ => {}
    }
    (StatusCode::CREATED, number.to_string())
}

#[idempotent(ttl = "4s", lease = "3s", key = "uuidv7")]
async fn journaled(
    claim: Claim,
    Extension(db): Extension<SqlitePool>,
    State(runs): State<Runs>,
) -> Result<Committed, CommitError> {
    let tx = db.begin().await?;
    claim.commit(tx, (StatusCode::CREATED, runs.begin().to_string())).await
}

fn routes() -> Router<App> {
    Router::new().route("/", post(dated))
}

fn minted(at: SystemTime) -> String {
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Uuid::new_v7(Timestamp::from_unix(NoContext, since_epoch.as_secs(), since_epoch.subsec_nanos())).to_string()
}

/// Waits until a key is older than the ttl. There is no event to wait for.
async fn grow_old() {
    tokio::time::sleep(TTL + Duration::from_millis(500)).await;
}

async fn a_dated_key_from_the_future_is_refused(stage: Stage) {
    let server = stage.serve(routes()).await;
    let now = SystemTime::now();
    server.post("/").key(minted(now + Duration::from_secs(6 * 60))).send().await.is_problem(400, "key-invalid");
    server.post("/").key(Uuid::new_v4().to_string()).send().await.is_problem(400, "key-invalid");
    server.post("/").key(minted(now + Duration::from_secs(4 * 60))).send().await.is_run(1);
}

async fn a_dated_key_older_than_the_ttl_never_runs_but_is_still_answered(stage: Stage) {
    let server = stage.serve(routes()).await;
    let used = server.post("/").key(minted(SystemTime::now()));
    used.send().await.is_run(1);
    let unknown = server.post("/").key(minted(SystemTime::now() - TTL - Duration::from_secs(1)));
    unknown.send().await.is_problem(400, "key-expired");
    grow_old().await;
    used.send().await.is_replay_of_run(1);
    used.body("another").send().await.is_problem(422, "key-reused");
    assert_eq!(server.runs.count(), 1);
}

async fn a_dated_key_older_than_the_ttl_whose_attempt_runs_is_in_flight(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/").key(minted(SystemTime::now())).body("held");
    let first = call.start();
    server.runs.begun(1).await;
    grow_old().await;
    let answer = call.send().await;
    answer.is_problem(409, "in-flight");
    assert!(answer.retry_after().is_some(), "{answer:?}");
    call.clone().body("another").send().await.is_problem(422, "key-reused");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    call.send().await.is_replay_of_run(1);
    assert_eq!(server.runs.count(), 1);
}

async fn a_dated_key_older_than_the_ttl_whose_attempt_died_is_outcome_unknown(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/").key(minted(SystemTime::now())).body("panics");
    assert!(call.try_send().await.is_err());
    grow_old().await;
    // With a fresh key this handler would run again.
    call.send().await.is_problem(409, "outcome-unknown");
    call.body("another").send().await.is_problem(422, "key-reused");
    assert_eq!(server.runs.count(), 1);
}

async fn a_dated_key_older_than_the_ttl_is_answered_from_the_journal(stage: Stage) {
    let (journal, db, _directory) = support::sql_store::on_sqlite_with_pool().await;
    let routes = Router::new().route("/", post(journaled)).layer(Extension(db));
    let server = stage.serve_with(stage.settings().commit_to(journal), routes).await;
    let call = server.post("/").key(minted(SystemTime::now()));
    call.send().await.is_run(1);
    grow_old().await;
    stage.store.lose_done(&stage.store.claims().pop().unwrap()).await;
    call.send().await.is_replay_of_run(1);
    call.body("another").send().await.is_problem(422, "key-reused");
    assert_eq!(server.runs.count(), 1);
}

/// A suspend or a correction by NTP sets the clock. Redis' clock is tested in `tests/redis/clock.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_keys_are_judged_by_the_clock_as_it_was_set_last() {
    let processes = Processes::in_memory();
    let server = processes.start_with_clock_to_set("one");
    let post = |ahead| server.post("/dated").key(minted(SystemTime::now() + Duration::from_secs(ahead)));
    assert_eq!(post(0).send().await.status, 201);
    post(10 * 60).send().await.is_problem(400, "key-invalid");
    processes.set_clock("+10m");
    assert_eq!(post(10 * 60).send().await.status, 201);
    processes.set_clock("+3h");
    assert_eq!(post(3 * 3600).send().await.status, 201);
    post(0).send().await.is_problem(400, "key-expired");
}
