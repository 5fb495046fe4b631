//! The order of the checks: first the key, then whether there is room, then the last argument, and then the body.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Multipart, Request, State},
    http::{StatusCode, request::Parts},
    routing::post,
};
use bytes::Bytes;
use http_body_util::BodyExt;
use idempotent_runtime::idempotent;
use tower_http::limit::RequestBodyLimitLayer;

use crate::stage::{App, Runs, Stage, Wire, create, on_memory, until};

on_memory!(
    a_key_that_is_missing_or_invalid_is_refused_before_the_body_is_asked_for,
    authentication_in_the_last_argument_comes_before_the_body,
    a_limit_of_an_outer_layer_is_answered_as_without_the_attribute,
    a_limit_of_an_outer_layer_holds_for_a_body_that_nobody_reads,
    uploads_beyond_the_requests_in_flight_are_refused_before_they_are_read,
    the_bytes_of_all_bodies_together_are_bounded,
    the_bytes_of_a_body_count_while_its_handler_runs,
    a_body_that_the_last_argument_reads_by_halves_is_compared_to_its_end,
    an_extractor_that_reads_in_the_background_gets_every_byte,
    a_body_that_the_handler_reads_later_is_the_whole_one,
    a_multipart_handler_reads_its_fields_as_ever,
    a_streaming_extractor_is_not_held_to_axums_limit,
);

#[idempotent(ttl = "24h")]
async fn measure(State(runs): State<Runs>, body: Bytes) -> (StatusCode, String) {
    runs.note(body.len().to_string());
    (StatusCode::CREATED, runs.begin().to_string())
}

/// Sends the head of a request with a large body, waits for the answer, and says whether the body was asked for.
async fn asked_for_the_body(mut wire: Wire, path: &str, headers: &str) -> (bool, String) {
    let answer = announce(&mut wire, path, headers, 1_000_000).await;
    (answer.starts_with("HTTP/1.1 100"), answer)
}

/// Sends the head of a request, and reads the server's answer before any of the body is sent. If a client sends the
/// body at once, its connection may be closed before it has read the answer.
async fn announce(wire: &mut Wire, path: &str, headers: &str, length: usize) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\n{headers}Expect: 100-continue\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    wire.send(head).await;
    wire.read_until("\r\n\r\n").await
}

async fn a_key_that_is_missing_or_invalid_is_refused_before_the_body_is_asked_for(stage: Stage) {
    #[idempotent(ttl = "24h", key = "uuid")]
    async fn by_uuid(State(runs): State<Runs>, _body: Bytes) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(measure)).route("/uuid", post(by_uuid))).await;
    let too_long = format!("Idempotency-Key: {}\r\n", "k".repeat(256));
    for headers in ["", "Idempotency-Key:\r\n", "Idempotency-Key: k, k\r\n", &too_long, "X-Idempotency-Key: k\r\n"] {
        let (asked, answer) = asked_for_the_body(server.wire().await, "/", headers).await;
        assert!(!asked && answer.starts_with("HTTP/1.1 400"), "{headers:?}: {answer}");
    }
    for headers in ["Idempotency-Key: order-1\r\n", "Idempotency-Key: 00000000-0000-0000-0000-000000000000\r\n"] {
        let (asked, answer) = asked_for_the_body(server.wire().await, "/uuid", headers).await;
        assert!(!asked && answer.starts_with("HTTP/1.1 400"), "{headers:?}: {answer}");
    }
    let (asked, _) = asked_for_the_body(server.wire().await, "/", "Idempotency-Key: k\r\n").await;
    assert!(asked, "a valid request is asked for its body");
    assert_eq!((server.runs.count(), stage.store.calls_of_any_kind()), (0, 0));
}

/// An extractor for the caller. It does not read the body.
struct User;

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        if parts.headers.contains_key("authorization") { Ok(Self) } else { Err(StatusCode::UNAUTHORIZED) }
    }
}

#[idempotent(ttl = "24h")]
async fn by_user(State(runs): State<Runs>, _user: User) -> (StatusCode, String) {
    (StatusCode::CREATED, runs.begin().to_string())
}

async fn authentication_in_the_last_argument_comes_before_the_body(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(by_user))).await;
    let (asked, answer) = asked_for_the_body(server.wire().await, "/", "Idempotency-Key: k\r\n").await;
    assert!(!asked && answer.starts_with("HTTP/1.1 401"), "{answer}");
    let call = |body: &'static str| server.post("/").key("k").header("authorization", "alice").body(body);
    call("one").send().await.is_run(1);
    call("one").send().await.is_replay_of_run(1);
    // The handler does not read the body. The body is compared even so.
    call("two").send().await.is_problem(422, "key-reused");
}

async fn bare_json(Json(body): Json<String>) -> String {
    body
}

#[idempotent(ttl = "24h")]
async fn json(State(runs): State<Runs>, Json(body): Json<String>) -> (StatusCode, String) {
    runs.note(body);
    (StatusCode::CREATED, runs.begin().to_string())
}

fn chunked(path: &str, length: usize) -> String {
    let body = format!("\"{}\"", "x".repeat(length - 2));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nTransfer-Encoding: \
         chunked\r\nConnection: close\r\n\r\n"
    );
    format!("{head}{length:x}\r\n{body}\r\n0\r\n\r\n")
}

async fn a_limit_of_an_outer_layer_is_answered_as_without_the_attribute(stage: Stage) {
    let limit = 64 << 10;
    let routes: Router<App> = Router::new().route("/bare", post(bare_json)).route("/", post(json));
    for routes in [
        routes.clone().layer(RequestBodyLimitLayer::new(limit)),
        routes.clone().layer(DefaultBodyLimit::max(limit)),
        routes.clone().layer(DefaultBodyLimit::disable()).layer(RequestBodyLimitLayer::new(limit)),
        routes.layer(RequestBodyLimitLayer::new(limit)).layer(DefaultBodyLimit::max(limit)),
    ] {
        let server = stage.serve(routes).await;
        let mut answers = Vec::new();
        for path in ["/bare", "/"] {
            let mut wire = server.wire().await;
            wire.send(chunked(path, 70_000)).await;
            let answer = wire.read_to_end().await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            answers.push((head.lines().next().unwrap().to_owned(), body.to_owned()));
        }
        assert_eq!(answers[0], answers[1]);
        assert!(answers[1].0.contains("413"), "{answers:?}");
        assert_eq!(server.runs.count(), 0);
    }
    assert_eq!(stage.store.calls_of_any_kind(), 0);
}

async fn a_limit_of_an_outer_layer_holds_for_a_body_that_nobody_reads(stage: Stage) {
    let routes = Router::new().route("/", post(create)).layer(RequestBodyLimitLayer::new(1_000));
    let server = stage.serve(routes).await;
    let mut wire = server.wire().await;
    wire.send(chunked("/", 5_000)).await;
    let answer = wire.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("#request-too-large"), "{answer}");
    assert_eq!((server.runs.count(), stage.store.calls_of_any_kind()), (0, 0));
}

/// Begins an upload and does not finish it.
async fn slow_upload(wire: &mut Wire, key: &str, sent: usize) {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {key}\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire.send(format!("{head}{sent:x}\r\n{}\r\n", "x".repeat(sent))).await;
}

async fn uploads_beyond_the_requests_in_flight_are_refused_before_they_are_read(stage: Stage) {
    let settings = stage.settings().max_in_flight(1);
    let server = stage.serve_with(settings, Router::new().route("/", post(measure))).await;
    let mut first = server.wire().await;
    slow_upload(&mut first, "first", 10).await;
    // Wait until the first upload is in flight, so that the others are refused.
    until("the first upload to be in flight", || async { server.post("/").key("probe").send().await.status == 503 })
        .await;
    for _ in 0..5 {
        let (asked, answer) = asked_for_the_body(server.wire().await, "/", "Idempotency-Key: k\r\n").await;
        assert!(!asked && answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    let refused = server.post("/").key("k").send().await;
    refused.is_problem(503, "too-many-in-flight");
    assert_eq!(refused.retry_after(), Some(1));
    first.send("0\r\n\r\n").await;
    assert!(first.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 201"));
}

#[idempotent(ttl = "24h")]
async fn keep(State(runs): State<Runs>, body: Bytes) -> (StatusCode, String) {
    let number = runs.begin_and_hold().await;
    (StatusCode::CREATED, (number + body.len()).to_string())
}

async fn the_bytes_of_a_body_count_while_its_handler_runs(stage: Stage) {
    let server = stage.serve_with(stage.settings().max_buffered(1_000), Router::new().route("/", post(keep))).await;
    let first = server.post("/").key("first").body("x".repeat(600)).start();
    server.runs.begun(1).await;
    let second = server.post("/").key("second").body("x".repeat(600));
    second.send().await.is_problem(503, "too-many-in-flight");
    server.runs.open(1);
    server.runs.open(2);
    first.await.unwrap();
    assert_eq!(second.send().await.status, 201);
}

async fn the_bytes_of_all_bodies_together_are_bounded(stage: Stage) {
    let settings = stage.settings().max_buffered(100_000);
    let server = stage.serve_with(settings, Router::new().route("/", post(measure))).await;
    let mut first = server.wire().await;
    slow_upload(&mut first, "first", 60_000).await;
    let large = "Idempotency-Key: large\r\n";
    until("the first upload to take its room", || async {
        let refused = announce(&mut server.wire().await, "/", large, 50_000).await.to_lowercase();
        refused.starts_with("http/1.1 503") && refused.contains("\r\nretry-after: 1\r\n")
    })
    .await;
    // There is no room either for a body that does not announce its length.
    let mut second = server.wire().await;
    slow_upload(&mut second, "second", 50_000).await;
    assert!(second.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 503"));
    assert_eq!(server.runs.count(), 0);
    // A small body fits. When the first upload ends, its room is free again.
    assert_eq!(server.post("/").key("small").body("x").send().await.status, 201);
    drop(first);
    until("the room to be given back", || async {
        let mut wire = server.wire().await;
        announce(&mut wire, "/", large, 100_000).await.starts_with("HTTP/1.1 100") && {
            wire.send("x".repeat(100_000)).await;
            wire.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 201")
        }
    })
    .await;
}

/// Reads the first chunk and no more.
struct Beginning(Bytes);

impl<S: Sync> FromRequest<S> for Beginning {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let mut body = request.into_body();
        let frame = body.frame().await;
        Ok(Self(frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok()).unwrap_or_default()))
    }
}

async fn a_body_that_the_last_argument_reads_by_halves_is_compared_to_its_end(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn beginning(State(runs): State<Runs>, Beginning(first): Beginning) -> (StatusCode, String) {
        assert!(!first.is_empty());
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(beginning))).await;
    let mut body = vec![b'x'; 1 << 20];
    let call = server.post("/").key("k");
    call.clone().body(body.clone()).send().await.is_run(1);
    call.clone().body(body.clone()).send().await.is_replay_of_run(1);
    *body.last_mut().unwrap() = b'y';
    call.body(body).send().await.is_problem(422, "key-reused");
}

/// Gives the body to a task, and the receiving end of a channel to the handler.
struct Background(tokio::sync::mpsc::UnboundedReceiver<Bytes>);

impl<S: Sync> FromRequest<S> for Background {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let (chunks, received) = tokio::sync::mpsc::unbounded_channel();
        let mut body = request.into_body();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(chunk) = frame.into_data() {
                    let _ = chunks.send(chunk);
                }
            }
        });
        Ok(Self(received))
    }
}

async fn an_extractor_that_reads_in_the_background_gets_every_byte(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn background(State(runs): State<Runs>, Background(mut chunks): Background) -> (StatusCode, String) {
        let mut length = 0;
        while let Some(chunk) = chunks.recv().await {
            length += chunk.len();
        }
        runs.note(length.to_string());
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(background))).await;
    let mut wire = server.wire().await;
    slow_upload(&mut wire, "k", 50_000).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    wire.send(format!("{:x}\r\n{}\r\n0\r\n\r\n", 50_000, "y".repeat(50_000))).await;
    assert!(wire.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 201"));
    assert_eq!(server.runs.notes(), ["100000"]);
    let same = server.post("/").key("k").body(format!("{}{}", "x".repeat(50_000), "y".repeat(50_000)));
    same.send().await.is_replay_of_run(1);
}

async fn a_body_that_the_handler_reads_later_is_the_whole_one(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn later(State(runs): State<Runs>, request: Request) -> (StatusCode, String) {
        let body: Body = request.into_body();
        let hint = http_body::Body::size_hint(&body).exact();
        let body = body.collect().await.unwrap().to_bytes();
        runs.note(format!("{} {hint:?}", body.len()));
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(later))).await;
    let call = server.post("/").key("k").body("x".repeat(1_500_000));
    call.send().await.is_run(1);
    call.send().await.is_replay_of_run(1);
    assert_eq!(server.runs.notes(), ["1500000 Some(1500000)"]);
    // Axum's own limit bounds how much of a body is kept for such a handler.
    let refused = announce(&mut server.wire().await, "/", "Idempotency-Key: l\r\n", 2_500_000).await;
    assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
}

async fn a_multipart_handler_reads_its_fields_as_ever(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn upload(State(runs): State<Runs>, mut form: Multipart) -> (StatusCode, String) {
        while let Some(field) = form.next_field().await.unwrap() {
            let name = field.name().unwrap().to_owned();
            runs.note(format!("{name}={}", field.text().await.unwrap().len()));
        }
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(upload))).await;
    let part = |name: &str, length| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{}\r\n", "x".repeat(length))
    };
    let body = format!("{}{}--b--\r\n", part("a", 3), part("file", 300_000));
    let call = server.post("/").key("k").header("content-type", "multipart/form-data; boundary=b").body(body);
    call.send().await.is_run(1);
    call.send().await.is_replay_of_run(1);
    assert_eq!(server.runs.notes(), ["a=3", "file=300000"]);
}

/// Reads a body of any length, like an extractor that writes the body to a file.
struct Streamed(usize);

impl<S: Sync> FromRequest<S> for Streamed {
    type Rejection = StatusCode;

    async fn from_request(request: Request, _: &S) -> Result<Self, StatusCode> {
        let (mut body, mut length) = (request.into_body(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
            length += frame.data_ref().map_or(0, Bytes::len);
        }
        Ok(Self(length))
    }
}

async fn a_streaming_extractor_is_not_held_to_axums_limit(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn streamed(State(runs): State<Runs>, Streamed(length): Streamed) -> (StatusCode, String) {
        runs.note(length.to_string());
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(streamed))).await;
    let call = server.post("/").key("k").body("x".repeat(5_000_000));
    call.send().await.is_run(1);
    call.send().await.is_replay_of_run(1);
    assert_eq!(server.runs.notes(), ["5000000"]);
}
