//! Large, endless and broken bodies of responses.

use std::{convert::Infallible, io, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::{Frame, SizeHint};
use idempotent_runtime::{Claim, idempotent};

use crate::stage::{Op, Runs, Stage, on_every_store, on_memory, until};

on_every_store!(
    a_body_of_unknown_length_that_ends_in_time_is_stored,
    a_response_over_the_limit_arrives_whole_and_its_retry_never_runs,
    an_endless_stream_starts_at_once_and_its_retry_never_runs,
    a_stream_whose_client_hangs_up_is_replayed_whole,
    a_stream_that_breaks_off_while_it_is_sent_is_never_replayed_as_if_whole,
);

on_memory!(
    headers_count_towards_the_limit,
    a_known_length_over_the_limit_is_not_read_before_it_is_sent,
    a_stream_that_is_longer_than_patience_arrives_whole_and_is_then_replayed_whole,
    a_stream_of_many_small_waits_is_replayed_whole,
    a_length_that_is_announced_is_waited_for,
    the_patience_with_a_stream_is_a_setting,
    a_stream_that_grows_beyond_the_limit_while_it_is_sent_is_never_replayed,
    a_response_that_is_larger_than_its_content_length_is_sent_and_replayed_whole,
    a_stream_of_another_length_than_announced_is_never_stored,
    trailers_of_a_slow_stream_are_replayed,
    a_body_cut_off_while_it_was_read_is_never_stored_as_if_whole,
);

/// A stream of unknown length.
fn chunks(chunks: impl IntoIterator<Item = &'static str, IntoIter: Send + 'static>) -> Body {
    Body::from_stream(stream::iter(chunks).map(Ok::<_, Infallible>))
}

async fn a_body_of_unknown_length_that_ends_in_time_is_stored(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn in_chunks(State(runs): State<Runs>) -> Body {
        runs.begin();
        chunks(["a", "", "b", "c"])
    }
    let server = stage.serve(Router::new().route("/", post(in_chunks))).await;
    let call = server.post("/").key("k");
    assert_eq!(call.send().await.text(), "abc");
    let second = call.send().await;
    assert_eq!((second.text(), second.is_replayed(), server.runs.count()), ("abc", true, 1));
}

/// Answers with as many bytes as the request's body says. The length is known only after the last chunk.
#[idempotent(ttl = "24h")]
async fn export(State(runs): State<Runs>, length: String) -> impl IntoResponse {
    let length = length.parse().unwrap();
    let location = [(header::LOCATION, format!("/exports/{}", runs.begin()))];
    (StatusCode::CREATED, location, Body::from_stream(stream::iter((0..length).map(|_| Ok::<_, Infallible>("x")))))
}

async fn a_response_over_the_limit_arrives_whole_and_its_retry_never_runs(stage: Stage) {
    let server = stage.serve_with(stage.settings().max_response(1_000), Router::new().route("/", post(export))).await;
    let within = server.post("/").key("within").body("900");
    assert_eq!(within.send().await.body.len(), 900);
    assert_eq!(within.send().await.body.len(), 900);
    assert_eq!(server.runs.count(), 1);

    let over = server.post("/").key("over").body("5000");
    let first = over.send().await;
    assert_eq!((first.status, first.body.len()), (201, 5_000));
    for _ in 0..2 {
        let retry = over.send().await;
        retry.is_problem(409, "not-replayable");
        assert_eq!((retry.line("location"), retry.retry_after()), (Some("/exports/2"), None));
    }
    over.body("4999").send().await.is_problem(422, "key-reused");
    assert_eq!(server.runs.count(), 2);
}

async fn headers_count_towards_the_limit(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn long_header(State(runs): State<Runs>) -> impl IntoResponse {
        runs.begin();
        ([("x-long", "h".repeat(2_000))], "short")
    }
    let server =
        stage.serve_with(stage.settings().max_response(1_000), Router::new().route("/", post(long_header))).await;
    let call = server.post("/").key("k");
    let first = call.send().await;
    assert_eq!((first.status, first.text(), first.lines("x-long")[0].len()), (200, "short", 2_000));
    call.send().await.is_problem(409, "not-replayable");
    assert_eq!(server.runs.count(), 1);
}

async fn a_known_length_over_the_limit_is_not_read_before_it_is_sent(stage: Stage) {
    /// Its second half comes when the test says so.
    #[idempotent(ttl = "24h")]
    async fn download(State(runs): State<Runs>) -> Response {
        runs.begin();
        let halves = stream::iter([1, 2]).then(move |half| {
            let runs = runs.clone();
            async move {
                if half == 2 {
                    runs.hold(1).await;
                }
                Ok::<_, Infallible>(Bytes::from(vec![b'x'; 1_000]))
            }
        });
        Response::new(Body::new(Sized(2_000, Body::from_stream(halves))))
    }
    let server = stage.serve_with(stage.settings().max_response(1_500), Router::new().route("/", post(download))).await;
    let mut wire = server.wire().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nConnection: close\r\n\r\n").await;
    let head = wire.read_until("xxxx").await;
    assert!(head.contains("content-length: 2000"), "{head}");
    server.post("/").key("k").send().await.is_problem(409, "not-replayable");
    server.runs.open(1);
    wire.read_to_end().await;
}

/// A body that announces its length.
struct Sized(u64, Body);

impl axum::body::HttpBody for Sized {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut self.1).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

async fn an_endless_stream_starts_at_once_and_its_retry_never_runs(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn events(State(runs): State<Runs>) -> impl IntoResponse {
        runs.begin();
        let events = stream::repeat("data: tick\n\n").then(|event| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, Infallible>(event)
        });
        ([(header::CONTENT_TYPE, "text/event-stream"), (header::LOCATION, "/events")], Body::from_stream(events))
    }
    let server = stage.serve(Router::new().route("/", post(events))).await;
    let mut wire = server.wire().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n\r\n").await;
    let beginning = wire.read_until("data: tick\n\n").await;
    assert!(beginning.starts_with("HTTP/1.1 200") && beginning.contains("text/event-stream"), "{beginning}");
    // The first response goes on while a retry is answered.
    let retry = server.post("/").key("k").send().await;
    retry.is_problem(409, "not-replayable");
    assert_eq!(retry.line("location"), Some("/events"));
    assert!(wire.read_until("data: tick\n\n").await.contains("data: tick"));
    assert_eq!(server.runs.count(), 1);
}

/// Three chunks. The last one comes when the test opens the gate of this number.
fn held_stream(runs: Runs, gate: usize) -> Body {
    Body::from_stream(stream::iter(["first ", "second ", "third"]).then(move |chunk| {
        let runs = runs.clone();
        async move {
            if chunk == "third" {
                runs.hold(gate).await;
            }
            Ok::<_, Infallible>(chunk)
        }
    }))
}

async fn replayed(call: &crate::stage::Call) -> crate::stage::Answer {
    until("the whole response to be stored", || async { call.send().await.status != 409 }).await;
    call.send().await
}

async fn a_stream_that_is_longer_than_patience_arrives_whole_and_is_then_replayed_whole(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn slow(State(runs): State<Runs>) -> impl IntoResponse {
        let number = runs.begin();
        (StatusCode::CREATED, [("x-number", number.to_string())], held_stream(runs, 1))
    }
    let server = stage.serve(Router::new().route("/", post(slow))).await;
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    until("the key to be settled without a body", || async {
        call.send().await.problem()["type"].as_str().unwrap().ends_with("#not-replayable")
    })
    .await;
    server.runs.open(1);
    assert_eq!(first.await.unwrap().text(), "first second third");
    let second = replayed(&call).await;
    assert_eq!((second.status, second.text(), second.line("x-number")), (201, "first second third", Some("1")));
    assert!(second.is_replayed());
    call.body("another").send().await.is_problem(422, "key-reused");
    assert_eq!(server.runs.count(), 1);
}

async fn a_stream_of_many_small_waits_is_replayed_whole(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn slow(State(runs): State<Runs>) -> Body {
        runs.begin();
        Body::from_stream(stream::iter(0..15).then(|_| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, Infallible>("tick ")
        }))
    }
    let server = stage.serve(Router::new().route("/", post(slow))).await;
    let call = server.post("/").key("k");
    assert_eq!(call.send().await.text(), "tick ".repeat(15));
    let second = replayed(&call).await;
    assert_eq!((second.text(), second.is_replayed()), ("tick ".repeat(15).as_str(), true));
    assert_eq!(server.runs.count(), 1);
}

async fn a_length_that_is_announced_is_waited_for(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn announced(State(runs): State<Runs>) -> impl IntoResponse {
        runs.begin();
        let halves = stream::iter(["0123456789", "9876543210"]).then(|half| async move {
            if half.starts_with('9') {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            Ok::<_, Infallible>(half)
        });
        ([(header::CONTENT_LENGTH, "20")], Body::from_stream(halves))
    }
    let server = stage.serve(Router::new().route("/", post(announced))).await;
    let call = server.post("/").key("k");
    assert_eq!(call.send().await.text(), "01234567899876543210");
    // The response was stored before it was sent.
    let second = call.send().await;
    assert_eq!((second.text(), second.is_replayed(), server.runs.count()), ("01234567899876543210", true, 1));
    assert_eq!(stage.store.calls(Op::Replace), 0);
}

async fn the_patience_with_a_stream_is_a_setting(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn slow(State(runs): State<Runs>) -> Body {
        let number = runs.begin();
        held_stream(runs, number)
    }
    let settings = stage.settings().response_patience(Duration::from_secs(20));
    let server = stage.serve_with(settings, Router::new().route("/", post(slow))).await;
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    // After the default patience the response is still being read.
    tokio::time::sleep(Duration::from_millis(400)).await;
    call.send().await.is_problem(409, "in-flight");
    server.runs.open(1);
    assert_eq!(first.await.unwrap().text(), "first second third");
    assert!(call.send().await.is_replayed());
}

async fn a_stream_whose_client_hangs_up_is_replayed_whole(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn slow(State(runs): State<Runs>) -> Body {
        runs.begin();
        held_stream(runs, 1)
    }
    let server = stage.serve(Router::new().route("/", post(slow))).await;
    let mut wire = server.wire().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n").await;
    assert!(wire.read_until("second").await.contains("second"));
    drop(wire);
    server.runs.open(1);
    let second = replayed(&server.post("/").key("k")).await;
    assert_eq!((second.text(), second.is_replayed(), server.runs.count()), ("first second third", true, 1));
}

async fn a_stream_that_grows_beyond_the_limit_while_it_is_sent_is_never_replayed(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn growing(State(runs): State<Runs>) -> Body {
        runs.begin();
        let chunks = stream::iter(0..8).then(|_| async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            Ok::<_, Infallible>("x".repeat(200))
        });
        Body::from_stream(chunks)
    }
    let server = stage.serve_with(stage.settings().max_response(1_000), Router::new().route("/", post(growing))).await;
    let call = server.post("/").key("k");
    assert_eq!(call.send().await.body.len(), 1_600);
    server.idempotency.drain().await;
    call.send().await.is_problem(409, "not-replayable");
    assert_eq!((server.runs.count(), stage.store.calls(Op::Replace)), (1, 0));
}

async fn a_stream_that_breaks_off_while_it_is_sent_is_never_replayed_as_if_whole(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn breaks(State(runs): State<Runs>) -> Body {
        runs.begin();
        Body::from_stream(stream::iter([Ok("first "), Err(io::Error::other("the disk is gone"))]).then(|chunk| async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            chunk
        }))
    }
    let server = stage.serve(Router::new().route("/", post(breaks))).await;
    let call = server.post("/").key("k");
    call.try_send().await.expect_err("the first client must see that its response broke off");
    server.idempotency.drain().await;
    call.send().await.is_problem(409, "not-replayable");
    assert_eq!((server.runs.count(), stage.store.calls(Op::Replace)), (1, 0));
}

async fn a_response_that_is_larger_than_its_content_length_is_sent_and_replayed_whole(stage: Stage) {
    /// The answer of an upstream that was unpacked.
    #[idempotent(ttl = "24h")]
    async fn unpacked(State(runs): State<Runs>, slow: String) -> impl IntoResponse {
        runs.begin();
        let length = [(header::CONTENT_LENGTH, "9")];
        let body = if slow == "slow" {
            Body::from_stream(stream::iter(["of twelve", " bytes"]).then(|chunk| async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok::<_, Infallible>(chunk)
            }))
        } else {
            Body::from("of twelve bytes")
        };
        (StatusCode::CREATED, length, body)
    }
    let server = stage.serve(Router::new().route("/", post(unpacked))).await;
    for (key, body) in [("at once", ""), ("in pieces", "slow")] {
        let call = server.post("/").key(key).body(body);
        let (first, second) = (call.send().await, replayed(&call).await);
        assert_eq!((first.status, first.text(), first.is_replayed()), (201, "of twelve bytes", false), "{key}");
        assert_eq!((second.status, second.text(), second.is_replayed()), (201, "of twelve bytes", true), "{key}");
    }
    assert_eq!(server.runs.count(), 2);
}

async fn a_stream_of_another_length_than_announced_is_never_stored(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn short(claim: Claim, State(runs): State<Runs>) -> impl IntoResponse {
        runs.begin();
        runs.note(claim.recovering().to_string());
        ([(header::CONTENT_LENGTH, "20")], chunks(["only ", "ten by"]))
    }
    let server = stage.serve(Router::new().route("/", post(short))).await;
    let call = server.post("/").key("k");
    call.try_send().await.expect_err("the client must see that its response is cut off");
    call.try_send().await.expect_err("it ran again, since what the first did is unknown");
    assert_eq!(server.runs.notes(), ["false", "true"], "the second run is told");
}

async fn trailers_of_a_slow_stream_are_replayed(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn slow(State(runs): State<Runs>) -> impl IntoResponse {
        runs.begin();
        let frames = stream::iter([false, true]).then(|last| async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut trailers = axum::http::HeaderMap::new();
            trailers.insert("x-checksum", axum::http::HeaderValue::from_static("abc"));
            Ok::<_, Infallible>(if last { Frame::trailers(trailers) } else { Frame::data(Bytes::from_static(b"body")) })
        });
        ([("trailer", "x-checksum")], Body::new(http_body_util::StreamBody::new(frames)))
    }
    let server = stage.serve(Router::new().route("/", post(slow))).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nTE: trailers\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let mut wire = server.wire().await;
    wire.send(head).await;
    assert!(wire.read_to_end().await.contains("x-checksum: abc"));
    replayed(&server.post("/").key("k")).await;
    let mut wire = server.wire().await;
    wire.send(head).await;
    let second = wire.read_to_end().await;
    assert!(second.contains("idempotent-replayed: true") && second.contains("x-checksum: abc"), "{second}");
    assert_eq!(server.runs.count(), 1);
}

async fn a_body_cut_off_while_it_was_read_is_never_stored_as_if_whole(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn breaks_once(claim: Claim, State(runs): State<Runs>) -> Body {
        let number = runs.begin();
        runs.note(claim.recovering().to_string());
        let end = if number == 1 { Err(io::Error::other("the disk is gone")) } else { Ok("whole") };
        Body::from_stream(stream::iter([Ok("not "), end]))
    }
    let server = stage.serve(Router::new().route("/", post(breaks_once))).await;
    let call = server.post("/").key("k");
    call.try_send().await.expect_err("the first client must see that its response broke off");
    // What the first attempt did is unknown, and the second one is told.
    let second = call.send().await;
    assert_eq!((second.text(), second.is_replayed()), ("not whole", false));
    assert_eq!(server.runs.notes(), ["false", "true"]);
    assert!(call.send().await.is_replayed());
}
