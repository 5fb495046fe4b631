//! While Redis is known to be down, a request is refused at once. The log has one line for the outage, and none for
//! each request.

use std::time::{Duration, Instant};

use axum::{Router, body::Body, extract::FromRef, http::Request, http::StatusCode, routing::post};
use idempotent_runtime::{Idempotency, idempotent};
use support::{
    observed::Observed,
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
};
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
    let store = patient().connect(&server.url()).await.expect("connects");
    let idempotency = Idempotency::builder(store).namespace("down").store_timeout(PATIENCE).build();
    Router::new().route("/", post(charge)).with_state(App { idempotency })
}

async fn send(service: &Router, key: &str) -> (StatusCode, Duration) {
    let request = Request::post("/").header("idempotency-key", key).body(Body::empty()).expect("a request");
    let start = Instant::now();
    let response = service.clone().oneshot(request).await.expect("infallible");
    (response.status(), start.elapsed())
}

/// The fastest of ten refusals, since a busy machine may delay any one of them.
async fn fastest_refusal(service: &Router) -> Duration {
    let mut fastest = Duration::MAX;
    for number in 0..10 {
        let (status, took) = send(service, &format!("fast-{number}")).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        fastest = fastest.min(took);
    }
    fastest
}

#[tokio::test]
async fn a_request_is_refused_at_once() {
    let mut server = RedisServer::start();
    let service = service(&server).await;
    assert_eq!(send(&service, "first").await.0, StatusCode::CREATED);
    server.kill();
    // The store notices that the connection is lost, and a first try to connect fails.
    assert_eq!(send(&service, "second").await.0, StatusCode::SERVICE_UNAVAILABLE);
    sleep(Duration::from_millis(500)).await;
    let fastest = fastest_refusal(&service).await;
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
}

#[test]
fn an_outage_is_logged_once_and_so_is_its_end() {
    let observed = Observed::default();
    observed.during(async {
        let mut server = RedisServer::start();
        let service = service(&server).await;
        server.kill();
        for number in 0..200 {
            assert_eq!(send(&service, &format!("key-{number}")).await.0, StatusCode::SERVICE_UNAVAILABLE);
        }
        server.restart();
        let start = Instant::now();
        while send(&service, "last").await.0 != StatusCode::CREATED {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not come back");
            sleep(Duration::from_millis(10)).await;
        }
    });
    let lines = observed.lines();
    let count = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(count("connection to Redis lost"), 1, "{lines:#?}");
    assert_eq!(count("connected to Redis again"), 1, "{lines:#?}");
    assert!((1..=2).contains(&count("cannot connect to Redis")), "one for each reason: {lines:#?}");
    assert!((1..=3).contains(&count("store unavailable, requests refused")), "one for each kind: {lines:#?}");
}
