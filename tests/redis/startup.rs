//! Faults that exist at the start are reported at the start. The error says what to change, and contains no password.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    RedisStore,
    store::{Lookup, RedisStoreError},
};
use redis::AsyncConnectionConfig;
use support::{
    attempts::{attempt, win},
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
};

use crate::given_connection::patient_manager;

/// Nobody waits for the operating system, which tries for minutes. The rest is for a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// The whole text of an error and of its sources.
fn words(error: &RedisStoreError) -> String {
    let mut words = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    println!("{words}");
    assert!(!words.contains("s3cret") && !words.contains("alice"), "{words}");
    words
}

async fn refused(url: &str) -> RedisStoreError {
    patient().connect(url).await.expect_err("it must not do")
}

#[tokio::test]
async fn wrong_url() {
    for url in [
        "",
        "localhost:6379",
        "http://alice:s3cret@localhost/",
        "redis://alice:s3cret@localhost/zero",
        "redis://:s3cret@/",
    ] {
        let error = refused(url).await;
        assert!(matches!(error, RedisStoreError::Url(_)), "{url}: {error:?}");
        assert!(words(&error).contains("write redis://"), "{url}");
    }
}

#[tokio::test]
async fn nobody_there() {
    let mut server = RedisServer::start();
    server.kill();
    let start = Instant::now();
    let error = refused(&format!("redis://alice:s3cret@127.0.0.1:{}/", server.port())).await;
    assert!(start.elapsed() < SOON);
    assert!(matches!(error, RedisStoreError::Unreachable { .. }), "{error:?}");
    let words = words(&error);
    assert!(words.contains("is it running") && words.contains(&server.port().to_string()), "{words}");
}

/// A moment that cannot be calculated would be a panic, or a server that cannot be reached.
#[tokio::test]
async fn a_store_whose_durations_have_no_end_works() {
    let server = RedisServer::start();
    let store = RedisStore::builder()
        .response_timeout(Duration::MAX)
        .connect_timeout(Duration::MAX)
        .watch_every(Duration::MAX)
        .connect(&server.url())
        .await
        .expect("connects");
    let attempt = attempt();
    win(&store, &attempt).await;
    assert!(matches!(store.lookup(&attempt.key).await, Ok(Lookup::Running { .. })));
}

#[tokio::test]
async fn silent_server() {
    let server = RedisServer::start();
    server.freeze();
    let start = Instant::now();
    let error = RedisStore::connect(&server.url()).await.expect_err("it says nothing");
    assert!(start.elapsed() < SOON);
    assert!(matches!(error, RedisStoreError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn credentials() {
    let server =
        RedisServer::start_with(&["--user", "alice", "on", ">s3cret", "~*", "&*", "+@all", "--user", "default", "off"]);
    for user in ["", ":wr0ng@", "alice:wr0ng@"] {
        let error = refused(&format!("redis://{user}127.0.0.1:{}/", server.port())).await;
        assert!(matches!(error, RedisStoreError::Unauthorised { .. }), "{user}: {error:?}");
        assert!(words(&error).contains("check user and password"));
    }
    let url = format!("redis://alice:s3cret@127.0.0.1:{}/3", server.port());
    let store = patient().connect(&url).await.expect("the right ones");
    win(&store, &attempt()).await;
    let shown = format!("{store:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("alice"), "{shown}");
}

/// `fn main() -> Result<…>` and `expect` print an error by `Debug`.
#[tokio::test]
async fn what_a_program_prints_that_ends_with_it_says_what_to_do() {
    let server = RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = refused(&server.url()).await;
    assert_eq!(format!("{error:?}"), error.to_string());
    assert!(format!("{error:?}").contains("set it to noeviction"), "{error:?}");

    let mut server = RedisServer::start();
    server.kill();
    let error = refused(&server.url()).await;
    let printed = format!("{error:?}");
    assert!(printed.starts_with("cannot reach Redis at") && printed.contains("refused"), "with its cause: {printed}");
}

/// One Redis for two services in one program, each with settings of its own.
#[tokio::test]
async fn a_clone_is_the_same_store() {
    let server = RedisServer::start();
    let store = patient().connect(&server.url()).await.expect("connects");
    let clone = store.clone();
    let first = attempt();
    win(&store, &first).await;
    drop(store);
    assert!(matches!(clone.lookup(&first.key).await, Ok(Lookup::Running { .. })));
}

#[tokio::test]
async fn without_info_it_is_not_checked() {
    let server = RedisServer::start_with(&["--user", "alice", "on", ">s3cret", "~*", "&*", "+@all", "-info"]);
    let url = format!("redis://alice:s3cret@127.0.0.1:{}/", server.port());
    win(&patient().connect(&url).await.expect("allowed"), &attempt()).await;
}

#[tokio::test]
async fn eviction() {
    let server = RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = refused(&server.url()).await;
    assert!(matches!(&error, RedisStoreError::Evicting { policy } if policy == "allkeys-lru"), "{error:?}");
    let words = words(&error);
    assert!(words.contains("noeviction") && words.contains("allow_eviction()"), "{words}");
    let store = patient().allow_eviction().connect(&server.url()).await.expect("asked for");
    win(&store, &attempt()).await;
}

#[tokio::test]
async fn replica() {
    let server = RedisServer::start_with(&["--replicaof", "127.0.0.1 1"]);
    let error = refused(&server.url()).await;
    assert!(matches!(error, RedisStoreError::Replica), "{error:?}");
    assert!(words(&error).contains("connect to its master"));
}

#[tokio::test]
async fn cluster_mode() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let error = refused(&server.url()).await;
    assert!(matches!(error, RedisStoreError::ClusterMode), "{error:?}");
    assert!(words(&error).contains("connect_cluster"));
}

#[tokio::test]
async fn unix_socket_and_database() {
    let server = RedisServer::start();
    let url = format!("redis+unix://{}?db=5", server.socket().display());
    let store = patient().connect(&url).await.expect("connects");
    win(&store, &attempt()).await;
    assert_eq!(server.command(&["DBSIZE"]), ":0", "that is database 0");
}

#[tokio::test]
async fn given_connection() {
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a URL");
    let connection = client.get_connection_manager_with_config(patient_manager()).await.expect("connects");
    let store = patient().connection(connection).await.expect("is fit");
    win(&store, &attempt()).await;

    let evicting = RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"]);
    let client = redis::Client::open(evicting.url()).expect("a URL");
    let settings = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    let settings = settings.set_connection_timeout(Some(PATIENCE));
    let connection = client.get_multiplexed_async_connection_with_config(&settings).await.expect("connects");
    let error = patient().connection(connection).await.expect_err("it is checked as well");
    assert!(matches!(error, RedisStoreError::Evicting { .. }), "{error:?}");
}
