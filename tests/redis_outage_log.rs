//! The log has a line for an outage of Redis, and not for each request. Alone in its program, since what is logged is looked
//! at in one thread.

use std::time::{Duration, Instant};

use axum::{Router, body::Body, extract::FromRef, http::Request, http::StatusCode, routing::post};
use idempotent_runtime::{Idempotency, RedisStore, idempotent};
use support::{observed::Observed, redis_server::RedisServer};
use tokio::time::sleep;
use tower::ServiceExt as _;

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
}

#[idempotent(ttl = "1h")]
async fn charge() -> StatusCode {
    StatusCode::CREATED
}

async fn service(server: &RedisServer) -> Router {
    let store = RedisStore::connect(&server.url()).await.expect("connects");
    let idempotency = Idempotency::builder(store).namespace("down").build();
    Router::new().route("/", post(charge)).with_state(App { idempotency })
}

async fn send(service: &Router, key: &str) -> StatusCode {
    let request = Request::post("/").header("idempotency-key", key).body(Body::empty()).expect("a request");
    let response = service.clone().oneshot(request).await.expect("infallible");
    response.status()
}

#[test]
fn an_outage_is_logged_once_and_so_is_its_end() {
    let observed = Observed::default();
    observed.during(async {
        let mut server = RedisServer::start();
        let service = service(&server).await;
        server.kill();
        for number in 0..200 {
            assert_eq!(send(&service, &format!("key-{number}")).await, StatusCode::SERVICE_UNAVAILABLE);
        }
        server.restart();
        let start = Instant::now();
        while send(&service, "last").await != StatusCode::CREATED {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not come back");
            sleep(Duration::from_millis(10)).await;
        }
    });
    let lines = observed.lines();
    let count = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(count("connection to Redis lost"), 1, "{lines:#?}");
    assert_eq!(count("connected to Redis again"), 1, "{lines:#?}");
    assert!((1..=2).contains(&count("cannot connect to Redis")), "one for each reason: {lines:#?}");
    assert!((1..=3).contains(&count("the store does not take claims")), "one for each kind: {lines:#?}");
}
