//! Sends requests to a router without a socket, for tests of expanded handlers.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header::CONTENT_TYPE},
};
use tower::ServiceExt as _;

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, which is text.
    pub body: String,
    /// Whether it has the header of a replay.
    pub replayed: bool,
}

/// Posts JSON with a key.
pub async fn send(app: &Router, path: &str, key: &str, body: &str) -> Answer {
    let request = Request::post(path)
        .header(CONTENT_TYPE, "application/json")
        .header("Idempotency-Key", key)
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    Answer {
        status: response.status(),
        replayed: response.headers().contains_key("idempotent-replayed"),
        body: String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap(),
    }
}

/// Posts the body `panics` with a key to a handler that panics on it.
pub async fn panics(app: &Router, path: &str, key: &str) {
    let request = Request::post(path).header("Idempotency-Key", key).body(Body::from("panics")).unwrap();
    let panicked = tokio::spawn(app.clone().oneshot(request)).await;
    assert!(panicked.is_err_and(|error| error.is_panic()), "it goes on");
}
