//! What a retry gets: the first response, without what was meant for the first client only.

use std::io::Read;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Redirect, Response},
    routing::post,
};
use bytes::Bytes;
use http_body_util::BodyExt;
use idempotent_runtime::idempotent;
use tower_http::compression::CompressionLayer;

use crate::stage::{Answer, Call, Runs, Stage, create, on_every_store, on_memory};

on_every_store!(
    a_retry_gets_status_headers_and_body_of_the_first,
    bytes_come_back_as_they_were_even_in_the_first_response,
    repeated_headers_are_not_joined,
    a_204_is_replayed_as_a_204,
    a_303_is_stored_and_replayed,
    trailers_are_sent_and_replayed,
);

on_memory!(
    a_session_cookie_is_for_the_first_client_only,
    headers_of_one_exchange_are_not_replayed,
    the_service_names_more_headers_that_are_not_replayed,
    the_marker_header_of_a_client_means_nothing,
    the_marker_header_of_a_handler_means_nothing,
    a_layer_outside_compresses_each_answer_for_its_own_client,
    a_coded_body_is_replayed_with_its_coding,
);

pub(crate) async fn twice(call: &Call) -> (Answer, Answer) {
    (call.send().await, call.send().await)
}

async fn a_retry_gets_status_headers_and_body_of_the_first(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn with_headers(State(runs): State<Runs>) -> impl IntoResponse {
        let number = runs.begin();
        let headers = [
            ("location", format!("/payments/{number}")),
            ("etag", "\"v1\"".to_owned()),
            ("content-type", "application/vnd.bank+xml".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ];
        let opaque = HeaderValue::from_bytes(b"\xff \x80").unwrap();
        (StatusCode::CREATED, headers, [("x-opaque", opaque)], format!("<payment id='{number}'/>"))
    }
    let server = stage.serve(Router::new().route("/", post(with_headers))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    assert_eq!((first.status, first.line("location"), first.is_replayed()), (201, Some("/payments/1"), false));
    assert_eq!(first.lines("x-opaque"), [b"\xff \x80"]);
    assert!(second.is_replayed());
    assert_eq!(server.runs.count(), 1);

    let without_date_and_marker = |mut answer: Answer| {
        answer.headers.remove("date");
        answer.headers.remove("idempotent-replayed");
        answer
    };
    assert_eq!(without_date_and_marker(first), without_date_and_marker(second));
}

async fn bytes_come_back_as_they_were_even_in_the_first_response(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn every_byte() -> Vec<u8> {
        (0..=255).cycle().take(70_000).collect()
    }
    let server = stage.serve(Router::new().route("/", post(every_byte))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    let expected: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    assert!(first.body == expected, "the first response is damaged");
    assert!(second.body == expected && second.is_replayed(), "the replay is damaged");
}

async fn repeated_headers_are_not_joined(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn linked() -> impl IntoResponse {
        AppendHeaders([("link", "</1>; rel=next"), ("x-other", "1"), ("link", "</2>; rel=prev, </3>")])
    }
    let server = stage.serve(Router::new().route("/", post(linked))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    let lines: [&[u8]; 2] = [b"</1>; rel=next", b"</2>; rel=prev, </3>"];
    assert_eq!((first.lines("link"), second.lines("link")), (lines.to_vec(), lines.to_vec()));
    assert!(second.is_replayed());
}

async fn a_session_cookie_is_for_the_first_client_only(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn log_in(State(runs): State<Runs>) -> impl IntoResponse {
        let number = runs.begin();
        (
            StatusCode::CREATED,
            AppendHeaders([("set-cookie", "session=1"), ("set-cookie", "theme=dark")]),
            number.to_string(),
        )
    }
    let server = stage.serve(Router::new().route("/", post(log_in))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    first.is_run(1);
    assert_eq!(first.lines("set-cookie"), [&b"session=1"[..], b"theme=dark"]);
    // The cookie does not make the handler run again.
    second.is_replay_of_run(1);
    assert!(second.lines("set-cookie").is_empty(), "{second:?}");
}

async fn headers_of_one_exchange_are_not_replayed(stage: Stage) {
    const ONE_EXCHANGE: [(&str, &str); 26] = [
        ("ratelimit", "\"default\";r=50;t=30"),
        ("ratelimit-remaining", "49"),
        ("x-ratelimit-reset", "30"),
        ("x-rate-limit-limit", "50"),
        ("server-timing", "db;dur=53"),
        ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"),
        ("x-b3-traceid", "80f198ee56343ba864fe8b2a57d3eff7"),
        ("x-amzn-requestid", "a-1"),
        ("x-cloud-trace-context", "105445aa7843bc8bf206b120001000/1"),
        ("uber-trace-id", "1:2:0:1"),
        ("cf-ray", "230b030023ae2822-SJC"),
        ("age", "5"),
        ("via", "1.1 upstream"),
        ("alt-svc", "h3=\":443\"; ma=86400"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("upgrade", "h2c"),
        ("www-authenticate", "Basic"),
        ("authorization", "Bearer secret"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("x-request-id", "r-1"),
        ("x-correlation-id", "c-1"),
        ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ];
    #[idempotent(ttl = "24h")]
    async fn chatty() -> impl IntoResponse {
        (AppendHeaders(ONE_EXCHANGE), [("x-kept", "1")])
    }
    let server = stage.serve(Router::new().route("/", post(chatty))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    assert_eq!(first.line("x-request-id"), Some("r-1"));
    assert!(second.is_replayed());
    assert_eq!(second.line("x-kept"), Some("1"));
    for (name, value) in ONE_EXCHANGE {
        let is_stored = second.lines(name).contains(&value.as_bytes());
        assert!(!is_stored, "{name} is replayed");
    }
    // The server adds its own date to the replay.
    assert!(second.line("date").is_some());
}

async fn the_service_names_more_headers_that_are_not_replayed(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn served() -> impl IntoResponse {
        [("x-node", "7"), ("x-kept", "1"), ("retry-after", "5"), ("strict-transport-security", "max-age=1")]
    }
    let settings = stage.settings().never_replay(["X-Node"]);
    let server = stage.serve_with(settings, Router::new().route("/", post(served))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    assert_eq!((first.line("x-node"), second.line("x-node"), second.is_replayed()), (Some("7"), None, true));
    for kept in ["x-kept", "retry-after", "strict-transport-security"] {
        assert_eq!(first.line(kept), second.line(kept));
    }
}

async fn a_204_is_replayed_as_a_204(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn remove(State(runs): State<Runs>) -> StatusCode {
        runs.begin();
        StatusCode::NO_CONTENT
    }
    let server = stage.serve(Router::new().route("/", post(remove))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    assert_eq!((first.status, second.status, server.runs.count()), (204, 204, 1));
    assert!(second.is_replayed() && second.body.is_empty());
}

async fn a_303_is_stored_and_replayed(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn see_other(State(runs): State<Runs>) -> Redirect {
        Redirect::to(&format!("/orders/{}", runs.begin()))
    }
    let server = stage.serve(Router::new().route("/", post(see_other))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    assert_eq!((first.status, first.line("location")), (303, Some("/orders/1")));
    assert_eq!((second.status, second.line("location")), (303, Some("/orders/1")));
    assert!(second.is_replayed());
}

async fn the_marker_header_of_a_client_means_nothing(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    let call = server.post("/").key("k").header("idempotent-replayed", "true");
    call.send().await.is_run(1);
    call.send().await.is_replay_of_run(1);
}

async fn the_marker_header_of_a_handler_means_nothing(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn gateway() -> impl IntoResponse {
        ([("idempotent-replayed", "perhaps")], "from upstream")
    }
    let server = stage.serve(Router::new().route("/", post(gateway))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    assert!(first.lines("idempotent-replayed").is_empty(), "a first answer is no replay: {first:?}");
    assert_eq!(second.lines("idempotent-replayed"), [b"true"]);
}

fn gunzip(body: &Bytes) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    text
}

async fn a_layer_outside_compresses_each_answer_for_its_own_client(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn long() -> String {
        "payment ".repeat(200)
    }
    let routes = Router::new().route("/", post(long)).layer(CompressionLayer::new());
    let server = stage.serve(routes).await;
    let (plain, gzip) = (server.post("/").key("k"), server.post("/").key("k").header("accept-encoding", "gzip"));
    let expected = "payment ".repeat(200);

    let first = gzip.send().await;
    assert_eq!((first.line("content-encoding"), gunzip(&first.body)), (Some("gzip"), expected.clone()));
    let to_another = plain.send().await;
    assert_eq!((to_another.line("content-encoding"), to_another.text()), (None, expected.as_str()));
    let again = gzip.send().await;
    assert_eq!((again.line("content-encoding"), gunzip(&again.body)), (Some("gzip"), expected));
    assert!(to_another.is_replayed() && again.is_replayed());
}

async fn a_coded_body_is_replayed_with_its_coding(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn coded() -> impl IntoResponse {
        let mut coded = Vec::new();
        flate2::read::GzEncoder::new(&b"payment"[..], flate2::Compression::fast()).read_to_end(&mut coded).unwrap();
        ([(header::CONTENT_ENCODING, "gzip"), (header::VARY, "accept-encoding")], coded)
    }
    let server = stage.serve(Router::new().route("/", post(coded))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    for answer in [&first, &second] {
        assert_eq!((answer.line("content-encoding"), answer.line("vary")), (Some("gzip"), Some("accept-encoding")));
        assert_eq!(gunzip(&answer.body), "payment");
    }
    assert!(second.is_replayed());
}

async fn trailers_are_sent_and_replayed(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn with_trailers() -> Response {
        let trailers = async {
            Some(Ok([("x-checksum".parse().unwrap(), HeaderValue::from_static("abc"))].into_iter().collect()))
        };
        let body = Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("payment")]));
        let mut response = Response::new(Body::new(body.with_trailers(trailers)));
        response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-checksum"));
        response
    }
    let server = stage.serve(Router::new().route("/", post(with_trailers))).await;
    for is_replay in [false, true] {
        let mut wire = server.wire().await;
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nTE: trailers\r\nConnection: close, te\r\n\r\n")
            .await;
        let answer = wire.read_to_end().await;
        assert!(answer.contains("payment"), "{answer}");
        assert!(answer.contains("x-checksum: abc"), "no trailers where replay is {is_replay}: {answer}");
    }
}
