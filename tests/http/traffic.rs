//! What a real Redis is sent, and what it keeps.

use std::collections::HashSet;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use idempotent_runtime::idempotent;
use support::redis_server::RedisServer;

use crate::stage::{Runs, Stage, create};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_execution_is_two_commands_and_a_replay_is_one() {
    let stage = Stage::redis().await;
    let server = stage.serve(Router::new().route("/", post(create))).await;
    let redis = stage.redis.as_ref().unwrap();
    // The server learns its scripts from the first request of all.
    server.post("/").key("warm-up").send().await.is_run(1);

    let monitor = redis.monitor();
    server.post("/").key("k").send().await.is_run(2);
    let first = monitor.commands();
    assert_eq!(first.len(), 2, "{first:?}");

    let monitor = redis.monitor();
    server.post("/").key("k").send().await.is_replay_of_run(2);
    let replay = monitor.commands();
    assert_eq!(replay, ["SET"]);

    let monitor = redis.monitor();
    server.post("/").key("k").body("another").send().await.is_problem(422, "key-reused");
    assert_eq!(monitor.commands(), ["SET"]);

    let monitor = redis.monitor();
    server.post("/").send().await.is_problem(400, "key-missing");
    server.post("/").key("").send().await.is_problem(400, "key-invalid");
    assert_eq!(monitor.commands(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_in_redis_expires() {
    #[idempotent(ttl = "1h", lease = "1m")]
    async fn held(State(runs): State<Runs>) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
    }
    let stage = Stage::redis().await;
    let server = stage.serve(Router::new().route("/", post(held))).await;
    let redis = stage.redis.as_ref().unwrap();
    let first = server.post("/").key("k").start();
    server.runs.begun(1).await;
    let key = stage.store.claims().remove(0).key;
    let left = || redis.command(&["PTTL", key.as_str()]).trim_start_matches(':').parse::<i64>().unwrap();
    // A claim outlives its lease by the ttl, so that a dead attempt is known and not forgotten.
    let running = left();
    assert!((3_600_000..=3_660_000).contains(&running), "{running}");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    let done = left();
    assert!((3_500_000..=3_600_000).contains(&done), "{done}");
    assert_eq!(redis.command(&["DBSIZE"]), ":1");
}

/// A cluster chooses a key's slot by the text between braces. Braces in the namespace, the scope and the key must not
/// put all keys into one slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_one_route_spread_over_the_slots_of_a_cluster() {
    #[idempotent(ttl = "24h", scope = tenant)]
    async fn by_tenant(Path(tenant): Path<String>, State(runs): State<Runs>) -> (StatusCode, String) {
        runs.note(tenant);
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let stage = Stage::redis().await;
    let settings = stage.settings().namespace("{pay}");
    let server =
        stage.serve_with(settings, Router::new().nest("/a/{tenant}", Router::new().route("/p", post(by_tenant)))).await;
    for number in 1..=64 {
        let call = server.post("/a/%7Balice%7D/p").key(format!("{{order}}-{number}"));
        call.send().await.is_run(number);
    }
    let keys: HashSet<String> = stage.store.claims().iter().map(|attempt| attempt.key.as_str().to_owned()).collect();
    let redis = stage.redis.as_ref().unwrap();
    assert_eq!((keys.len(), redis.command(&["DBSIZE"]).as_str()), (64, ":64"));

    let cluster = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let mut slots = HashSet::new();
    for key in &keys {
        assert_eq!(redis.command(&["EXISTS", key]), ":1", "{key} is none of the real keys");
        slots.insert(cluster.command(&["CLUSTER", "KEYSLOT", key]));
    }
    assert!(slots.iter().all(|slot| slot.starts_with(':')), "{slots:?}");
    // 64 random keys rarely share one of 16,384 slots.
    assert!(slots.len() >= 60, "{} slots", slots.len());
}
