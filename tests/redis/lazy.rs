//! A service that starts while Redis is down: an error by default, allowed with `lazy()`.

use std::time::{Duration, Instant, SystemTime};

use axum::{Router, body::Body, extract::FromRef, http::Request, http::StatusCode, routing::post};
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{Idempotency, RedisStore, StoreError, idempotent, store::RedisStoreError};
use support::{
    attempts::{attempt, done, win},
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
    sentinel::MASTER,
};
use tokio::time::sleep;
use tower::ServiceExt as _;
use uuid::{NoContext, Timestamp, Uuid};

/// Claims until one succeeds; every failure is fast, and says that the store is down.
async fn served(store: &RedisStore) {
    let start = Instant::now();
    loop {
        let asked = Instant::now();
        match store.claim(&attempt()).await {
            Ok(_) => return,
            Err(error) => assert!(matches!(error, StoreError::Down(_)), "{error:?}"),
        }
        assert!(asked.elapsed() < PATIENCE / 2, "it waited: {:?}", asked.elapsed());
        assert!(start.elapsed() < Duration::from_secs(20), "it is not served");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn error_of(store: &RedisStore, found: impl Fn(&StoreError) -> bool) -> StoreError {
    let start = Instant::now();
    loop {
        match store.claim(&attempt()).await {
            Err(error) if found(&error) => return error,
            other => assert!(start.elapsed() < Duration::from_secs(20), "{other:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn sentence(error: StoreError) -> String {
    let StoreError::Forbidden(cause) = error else { panic!("{error:?}") };
    cause.to_string()
}

#[tokio::test]
async fn by_default_the_service_does_not_start() {
    let mut server = RedisServer::start();
    server.kill();
    let error = patient().connect(&server.url()).await.expect_err("nobody is there");
    assert!(matches!(error, RedisStoreError::Unreachable { .. }), "{error:?}");
    assert!(format!("{error:?}").contains("lazy()"), "{error:?}");
}

#[tokio::test]
async fn a_lazy_store_starts_and_connects_when_it_can() {
    let mut server = RedisServer::start();
    server.kill();
    let start = Instant::now();
    let store = patient().lazy().connect(&server.url()).await.expect("it starts");
    assert!(start.elapsed() < PATIENCE / 2, "it waited: {:?}", start.elapsed());
    error_of(&store, |error| matches!(error, StoreError::Down(_))).await;
    server.restart();
    served(&store).await;
    done(&store).await;
}

#[tokio::test]
async fn a_lazy_store_works_at_once_where_redis_is_there() {
    let server = RedisServer::start();
    let store = patient().lazy().connect(&server.url()).await.expect("it starts");
    win(&store, &attempt()).await;
}

#[tokio::test]
async fn a_lazy_store_uses_no_server_that_evicts() {
    let evicting = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    let server = RedisServer::start_with(&evicting);
    let store = patient().lazy().connect(&server.url()).await.expect("it starts");
    let error = error_of(&store, |error| matches!(error, StoreError::Forbidden(_))).await;
    assert!(sentence(error).contains("noeviction"), "it says what to do");
    server.set(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let start = Instant::now();
    while store.claim(&attempt()).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "the next attempt finds it fit");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_lazy_store_takes_a_wrong_password_for_no_outage() {
    let server = RedisServer::start_with(&["--requirepass", "s3cret"]);
    let url = format!("redis://:wr0ng@127.0.0.1:{}/", server.port());
    let store = patient().lazy().connect(&url).await.expect("it starts");
    let error = error_of(&store, |error| matches!(error, StoreError::Forbidden(_))).await;
    assert!(!format!("{error:?}").contains("wr0ng"));
}

#[tokio::test]
async fn a_lazy_store_starts_without_sentinels_and_without_a_cluster() {
    let mut server = RedisServer::start();
    server.kill();
    let builder = || patient().lazy();
    let sentinel = builder().connect_sentinel([server.url()], MASTER).await.expect("it starts");
    let cluster = builder().connect_cluster([server.url()]).await.expect("it starts");
    for store in [sentinel, cluster] {
        error_of(&store, |error| matches!(error, StoreError::Down(_))).await;
    }
}

#[tokio::test]
async fn a_wrong_url_is_refused_lazily_too() {
    let error = patient().lazy().connect("localhost:6379").await.expect_err("it never gets right");
    assert!(matches!(error, RedisStoreError::Url(_)), "{error:?}");
}

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
}

#[idempotent(ttl = "1h", key = "uuidv7")]
async fn charge() -> StatusCode {
    StatusCode::CREATED
}

/// The time of a key is compared with the server's clock, which nobody has read yet.
#[tokio::test]
async fn until_redis_was_reached_a_dated_key_is_refused_as_any_other() {
    let mut server = RedisServer::start();
    server.kill();
    let store = patient().lazy().connect(&server.url()).await.expect("it starts");
    let idempotency = Idempotency::builder(store).namespace("lazy").store_timeout(PATIENCE).build();
    let router = Router::new().route("/", post(charge)).with_state(App { idempotency });
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let key = Uuid::new_v7(Timestamp::from_unix(NoContext, now.as_secs(), now.subsec_nanos())).to_string();
    let send = async || {
        let request = Request::post("/").header("idempotency-key", &key).body(Body::empty()).expect("a request");
        router.clone().oneshot(request).await.expect("infallible").status()
    };
    assert_eq!(send().await, StatusCode::SERVICE_UNAVAILABLE);
    server.restart();
    let start = Instant::now();
    while send().await != StatusCode::CREATED {
        assert!(start.elapsed() < Duration::from_secs(20), "it is not served");
        sleep(Duration::from_millis(10)).await;
    }
}
