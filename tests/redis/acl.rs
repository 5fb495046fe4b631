//! A user of Redis with exactly the permissions that the documentation lists can do everything. If one is missing, the
//! store says which. A permission that is withdrawn later does not count as an outage.

use std::time::{Duration, Instant};

use axum::{Router, body::Body, extract::FromRef, extract::State, http::Request, http::StatusCode, routing::post};
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    Idempotency, Outage, RedisStore, StoreError, idempotent,
    store::{Acquired, ClaimOutcome, ClaimRequest, Fingerprint, RedisStoreError, StoreKey},
};
use support::{
    attempts::{rival, win},
    redis_cluster::cluster_of_one,
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
    sentinel::{MASTER, Sentinels},
};
use tokio::sync::watch;
use tower::ServiceExt as _;

/// The arguments of `ACL SETUSER` in the documentation, with a password of the test's own.
fn documented() -> Vec<String> {
    let page = include_str!("../../docs/operations.md");
    let line = page.lines().find_map(|line| line.strip_prefix("ACL SETUSER payments ")).expect("it stands there");
    line.split(' ').map(|word| if word == ">password" { ">s3cret".to_owned() } else { word.to_owned() }).collect()
}

fn create_user(server: &RedisServer) {
    let words = documented();
    let command = [vec!["ACL", "SETUSER", "payments"], words.iter().map(String::as_str).collect()].concat();
    server.set(&command);
}

fn url(server: &RedisServer, database: u8) -> String {
    format!("redis://payments:s3cret@127.0.0.1:{}/{database}", server.port())
}

fn attempt_at(name: &str) -> ClaimRequest {
    ClaimRequest::new(StoreKey::new(format!("payments:POST:/charges::{name}")), Fingerprint::from_bytes([1; 32]))
}

/// Makes each call, in each way that it may take.
async fn does_everything(store: &RedisStore) {
    let held = Acquired::new(7, false);
    let first = attempt_at("first");
    let fence = win(store, &first).await;
    store.renew(&first, &held).await.expect("renew");
    store.save_steps(&first, fence, "steps".into()).await.expect("save_steps");
    store.release(&first).await.expect("release, which abandons");
    let second = rival(&first);
    let fence = win(store, &second).await;
    store.complete(&second, fence, "record".into()).await.expect("complete");
    store.replace(&second, fence, "whole record".into()).await.expect("replace");
    assert_eq!(store.claim(&rival(&first)).await.expect("replay"), ClaimOutcome::Done("whole record".into()));
    store.lookup(&first.key).await.expect("lookup");
    store.forget(&first.key).await.expect("forget");
    store.renew(&first, &held).await.expect("renew what was lost");
    store.abandon(&first).await.expect("abandon");
    let third = attempt_at("third");
    let fence = win(store, &third).await;
    store.complete(&third, fence, "record".into()).await.expect("complete a first attempt");
    let fourth = attempt_at("fourth");
    win(store, &fourth).await;
    store.release(&fourth).await.expect("release");
    store.complete(&fourth, 1, "record".into()).await.expect("complete what was lost");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    idempotent_runtime::Store::now(store).await.expect("now");
}

#[tokio::test]
async fn one_server_and_a_database_of_its_own() {
    let server = RedisServer::start();
    create_user(&server);
    for database in [0, 2] {
        does_everything(&patient().connect(&url(&server, database)).await.expect("the list is complete")).await;
    }
}

#[tokio::test]
async fn sentinel() {
    let sentinels = Sentinels::start();
    sentinels.servers.iter().for_each(create_user);
    let master = format!("redis://payments:s3cret@{MASTER}/2");
    let store = patient().connect_sentinel(sentinels.urls(), &master).await.expect("the list is complete");
    does_everything(&store).await;
}

#[tokio::test]
async fn cluster() {
    let server = cluster_of_one(&[]);
    create_user(&server);
    does_everything(&patient().connect_cluster([url(&server, 0)]).await.expect("the list is complete")).await;
}

#[tokio::test]
async fn a_missing_permission_is_named_at_the_start() {
    let server = RedisServer::start();
    create_user(&server);
    for command in ["get", "set", "getrange", "exists", "del", "pttl", "eval", "evalsha", "time"] {
        server.set(&["ACL", "SETUSER", "payments", &format!("-{command}")]);
        let error = patient().connect(&url(&server, 0)).await.expect_err("it cannot work");
        let RedisStoreError::Forbidden { commands, .. } = &error else { panic!("without {command}: {error:?}") };
        assert_eq!(commands, &format!("+{command}"));
        assert!(!format!("{error:?}").contains("s3cret"));
        server.set(&["ACL", "SETUSER", "payments", &format!("+{command}")]);
    }
}

/// A user should have access to its own keys only, so the check at the start must not need other keys.
#[tokio::test]
async fn keys_of_another_namespace_are_forbidden_and_no_outage() {
    let server = RedisServer::start();
    create_user(&server);
    let store = patient().connect(&url(&server, 0)).await.expect("the namespace is not known yet");
    let refused = store.claim(&support::attempts::attempt()).await;
    assert!(matches!(refused, Err(StoreError::Forbidden(_))), "{refused:?}");
}

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    runs: watch::Sender<u32>,
}

#[idempotent(ttl = "1h")]
async fn charge(State(runs): State<watch::Sender<u32>>) -> StatusCode {
    runs.send_modify(|runs| *runs += 1);
    StatusCode::CREATED
}

/// The answer of a service that runs its handler unprotected during an outage.
async fn answer(app: &App, key: &str) -> StatusCode {
    let router = Router::new().route("/", post(charge)).with_state(app.clone());
    let request = Request::post("/").header("idempotency-key", key).body(Body::empty()).expect("a request");
    router.oneshot(request).await.expect("infallible").status()
}

fn careless(store: RedisStore) -> App {
    let idempotency = Idempotency::builder(store).namespace("payments").outage(Outage::RunUnprotected);
    let idempotency = idempotency.store_timeout(PATIENCE).build();
    App { idempotency, runs: watch::Sender::default() }
}

#[tokio::test]
async fn a_permission_that_is_withdrawn_is_no_outage() {
    let mut server = RedisServer::start();
    create_user(&server);
    let app = careless(patient().connect(&url(&server, 0)).await.expect("connects"));
    assert_eq!(answer(&app, "first").await, StatusCode::CREATED);
    server.set(&["ACL", "SETUSER", "payments", "-set"]);
    for number in 0..3 {
        assert_eq!(answer(&app, &format!("second-{number}")).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(*app.runs.borrow(), 1, "nothing runs unprotected because of it");
    server.set(&["ACL", "SETUSER", "payments", "+set"]);
    assert_eq!(answer(&app, "third").await, StatusCode::CREATED);

    // A real outage counts as one, which shows the difference.
    server.kill();
    let start = Instant::now();
    while answer(&app, "fourth").await != StatusCode::CREATED {
        assert!(start.elapsed() < 3 * PATIENCE);
    }
}

#[tokio::test]
async fn a_password_that_is_no_longer_valid_is_no_outage() {
    let server = RedisServer::start();
    create_user(&server);
    let app = careless(patient().connect(&url(&server, 0)).await.expect("connects"));
    server.set(&["ACL", "SETUSER", "payments", "resetpass", ">another"]);
    server.set(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    for number in 0..20 {
        let status = answer(&app, &format!("key-{number}")).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(*app.runs.borrow(), 0);
}
