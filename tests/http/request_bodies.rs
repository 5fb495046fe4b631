//! Large, broken and chunked bodies of requests.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{HeaderValue, StatusCode},
    routing::post,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt;
use idempotent_runtime::idempotent;
use tower::ServiceExt as _;

use crate::stage::{App, Runs, Stage, on_every_store, on_memory};

on_every_store!(a_request_that_breaks_off_never_runs, a_large_body_is_compared_to_its_last_byte,);

on_memory!(
    a_request_over_axums_limit_gets_axums_answer,
    a_request_over_the_limit_of_what_can_be_compared_is_refused,
    a_request_over_the_memory_for_all_bodies_is_too_large_and_not_told_to_come_back,
    chunks_and_trailers_of_a_request_do_not_make_another_request,
    the_handler_gets_the_request_as_it_came,
);

#[idempotent(ttl = "24h")]
async fn measure(State(runs): State<Runs>, body: Bytes) -> (StatusCode, String) {
    runs.note(body.len().to_string());
    (StatusCode::CREATED, runs.begin().to_string())
}

async fn bare_measure(body: Bytes) -> String {
    body.len().to_string()
}

#[idempotent(ttl = "24h")]
async fn parse(State(runs): State<Runs>, Json(body): Json<String>) -> (StatusCode, String) {
    runs.note(body);
    (StatusCode::CREATED, runs.begin().to_string())
}

async fn a_request_over_axums_limit_gets_axums_answer(stage: Stage) {
    let routes: Router<App> = Router::new()
        .route("/bare", post(bare_measure))
        .route("/", post(measure))
        .route("/json", post(parse))
        .layer(DefaultBodyLimit::max(1_000));
    let server = stage.serve(routes).await;
    let too_long = "x".repeat(1_001);
    let bare = server.post("/bare").body(too_long.clone()).send().await;
    assert_eq!(bare.status, 413);
    let protected = server.post("/").key("k").body(too_long.clone()).send().await;
    assert_eq!((protected.status, protected.text()), (413, bare.text()));

    let quoted =
        server.post("/json").key("k").header("content-type", "application/json").body(format!("\"{too_long}\""));
    assert_eq!(quoted.send().await.status, 413);

    // The same without a Content-Length.
    let mut answers = Vec::new();
    for path in ["/bare", "/"] {
        let mut wire = server.wire().await;
        let head =
            "HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        wire.send(format!("POST {path} {head}3e9\r\n{too_long}\r\n0\r\n\r\n")).await;
        answers.push(wire.read_to_end().await.lines().next().unwrap_or_default().to_owned());
    }
    assert_eq!(answers, ["HTTP/1.1 413 Payload Too Large"; 2]);
    assert_eq!((server.runs.count(), stage.store.calls_of_any_kind()), (0, 0));
    server.post("/").key("k").body("short").send().await.is_run(1);
}

async fn a_request_over_the_limit_of_what_can_be_compared_is_refused(stage: Stage) {
    let server = stage.serve_with(stage.settings().max_request(1_000), Router::new().route("/", post(measure))).await;
    server.post("/").key("k").body("x".repeat(1_001)).send().await.is_problem(413, "request-too-large");
    server.post("/").key("k").body("x".repeat(1_000)).send().await.is_run(1);
}

async fn a_request_over_the_memory_for_all_bodies_is_too_large_and_not_told_to_come_back(stage: Stage) {
    let routes = Router::new().route("/", post(measure)).layer(DefaultBodyLimit::disable());
    let server = stage.serve_with(stage.settings().max_buffered(1_000), routes).await;
    server.post("/").key("k").body("x".repeat(1_001)).send().await.is_problem(413, "request-too-large");
    // The same without a Content-Length.
    let mut wire = server.wire().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n";
    wire.send(format!("{head}Connection: close\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1_001))).await;
    let answer = wire.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("request-too-large"), "{answer}");
    assert_eq!((server.runs.count(), stage.store.calls_of_any_kind()), (0, 0));
    server.post("/").key("k").body("x".repeat(1_000)).send().await.is_run(1);
}

/// Hands the body to a task, and does not wait for it.
struct ReadByATask(tokio::task::JoinHandle<usize>);

impl<S: Sync> FromRequest<S> for ReadByATask {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let body = request.into_body();
        Ok(Self(tokio::spawn(async move { body.collect().await.unwrap().to_bytes().len() })))
    }
}

#[idempotent(ttl = "24h")]
async fn read_by_a_task(ReadByATask(task): ReadByATask) -> String {
    task.await.unwrap().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_body_in_pieces_reaches_a_task_of_the_extractor_and_the_comparison() {
    let stage = Stage::memory();
    let app = App { idempotency: stage.settings().build(), runs: Runs::default() };
    let app: Router = Router::new().route("/", post(read_by_a_task)).with_state(app);
    let pieces = stream::iter(0..5).then(|_| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok::<_, Infallible>(Bytes::from_static(b"piece"))
    });
    let request = Request::post("/").header("idempotency-key", "k").body(Body::from_stream(pieces)).unwrap();
    let start = tokio::time::Instant::now();
    let answer = tokio::time::timeout(Duration::from_secs(60), app.oneshot(request)).await.expect("an answer").unwrap();
    // The timeout would poll the request once more, and find what nothing had woken it for.
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "25");
}

async fn a_request_that_breaks_off_never_runs(stage: Stage) {
    /// A handler that does not read its body.
    #[idempotent(ttl = "24h")]
    async fn careless(State(runs): State<Runs>, _request: Request) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(careless))).await;
    let mut wire = server.wire().await;
    wire.send(
        "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense",
    )
    .await;
    let answer = wire.read_until("\"detail\"").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("#request-unreadable"), "{answer}");
    assert_eq!((server.runs.count(), stage.store.calls_of_any_kind()), (0, 0));
    server.post("/").key("k").send().await.is_run(1);
}

async fn chunks_and_trailers_of_a_request_do_not_make_another_request(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(measure))).await;
    server.post("/").key("k").body("hello").send().await.is_run(1);
    for chunks in
        ["5\r\nhello\r\n0\r\n\r\n", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nX-Checksum: abc\r\n\r\n"]
    {
        let mut wire = server.wire().await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        wire.send(format!("{head}{chunks}")).await;
        let answer = wire.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 201") && answer.contains("idempotent-replayed: true"), "{answer}");
    }
    assert_eq!(server.runs.notes(), ["5"]);
}

async fn the_handler_gets_the_request_as_it_came(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn inspect(State(runs): State<Runs>, request: Request) -> StatusCode {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap();
        let checksum = body.trailers().and_then(|trailers| trailers.get("x-checksum")).map(HeaderValue::to_str);
        runs.note(format!("{} {} {checksum:?}", parts.method, parts.uri));
        runs.note(String::from_utf8(body.to_bytes().to_vec()).unwrap());
        StatusCode::CREATED
    }
    let server = stage.serve(Router::new().route("/inspect", post(inspect))).await;
    let mut wire = server.wire().await;
    let head = "POST /inspect?a=%20 HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n";
    wire.send(format!("{head}\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Checksum: abc\r\n\r\n")).await;
    let answer = wire.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(server.runs.notes(), ["POST /inspect?a=%20 Some(Ok(\"abc\"))", "hello"]);
}

async fn a_large_body_is_compared_to_its_last_byte(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(measure))).await;
    let mut body = vec![b'x'; 1 << 20];
    let call = server.post("/").key("k").body(body.clone());
    call.send().await.is_run(1);
    call.send().await.is_replay_of_run(1);
    *body.last_mut().unwrap() = b'y';
    call.body(body).send().await.is_problem(422, "key-reused");
}
