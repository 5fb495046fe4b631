//! Which responses are stored and replayed, and which free the key.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use http_body_util::BodyExt as _;
use idempotent_runtime::{Replay, idempotent};
use serde::Deserialize;

use crate::{
    replaying::twice,
    stage::{App, Runs, Stage, on_every_store, on_memory, until},
};

on_every_store!(by_default_final_answers_settle_the_key_and_others_free_it, the_handlers_word_goes_before_the_policy,);

on_memory!(
    success_settles_the_key_with_2xx_and_3xx_only,
    all_settles_the_key_with_any_status,
    a_refusal_that_asks_for_another_try_frees_the_key,
    a_failure_in_grpc_status_frees_the_key_as_its_http_status_would,
    a_failure_in_a_late_trailer_is_never_replayed,
);

#[derive(Deserialize)]
struct Wanted {
    status: u16,
}

impl Wanted {
    fn answer(&self, runs: &Runs) -> (StatusCode, String) {
        (StatusCode::from_u16(self.status).unwrap(), runs.begin().to_string())
    }
}

/// The statuses to try: some of each class, and all that have a rule of their own.
const ASKED: [u16; 56] = [
    200, 201, 202, 203, 206, 226, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410,
    411, 412, 416, 417, 419, 420, 421, 422, 423, 424, 425, 426, 428, 429, 430, 431, 440, 444, 449, 451, 455, 460, 463,
    464, 494, 495, 496, 497, 498, 499, 500, 503, 511,
];

/// Which of these statuses are stored and replayed. The route answers with the status it is asked for.
async fn settled(stage: &Stage, route: MethodRouter<App>) -> Vec<u16> {
    let server = stage.serve(Router::new().route("/", route)).await;
    let mut settled = Vec::new();
    for status in ASKED {
        let before = server.runs.count();
        let (first, second) = twice(&server.post(&format!("/?status={status}")).key(format!("k-{status}"))).await;
        assert_eq!((first.status, second.status), (status, status));
        let runs = server.runs.count() - before;
        assert_eq!(second.is_replayed(), runs == 1, "{status}");
        if second.is_replayed() {
            settled.push(status);
        }
    }
    settled
}

async fn by_default_final_answers_settle_the_key_and_others_free_it(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn answer(State(runs): State<Runs>, Query(wanted): Query<Wanted>) -> (StatusCode, String) {
        wanted.answer(&runs)
    }
    let free = [
        307, 308, 401, 403, 406, 407, 408, 411, 416, 417, 419, 420, 421, 423, 424, 425, 426, 428, 429, 430, 431, 440,
        444, 449, 460, 463, 464, 494, 495, 496, 497, 498, 499, 500, 503, 511,
    ];
    let expected: Vec<_> = ASKED.into_iter().filter(|status| !free.contains(status)).collect();
    assert_eq!(settled(&stage, post(answer)).await, expected);
}

async fn success_settles_the_key_with_2xx_and_3xx_only(stage: Stage) {
    #[idempotent(ttl = "24h", replay = "success")]
    async fn answer(State(runs): State<Runs>, Query(wanted): Query<Wanted>) -> (StatusCode, String) {
        wanted.answer(&runs)
    }
    assert_eq!(settled(&stage, post(answer)).await, [200, 201, 202, 203, 206, 226, 300, 301, 302, 303]);
}

async fn all_settles_the_key_with_any_status(stage: Stage) {
    #[idempotent(ttl = "24h", replay = "all")]
    async fn answer(State(runs): State<Runs>, Query(wanted): Query<Wanted>) -> (StatusCode, String) {
        wanted.answer(&runs)
    }
    assert_eq!(settled(&stage, post(answer)).await, ASKED);
}

async fn the_handlers_word_goes_before_the_policy(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn keep(State(runs): State<Runs>) -> impl IntoResponse {
        (StatusCode::BAD_GATEWAY, Replay::Keep, runs.begin().to_string())
    }
    #[idempotent(ttl = "24h")]
    async fn discard(State(runs): State<Runs>) -> impl IntoResponse {
        (StatusCode::CREATED, Replay::Discard, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/keep", post(keep)).route("/discard", post(discard))).await;
    let (_, kept) = twice(&server.post("/keep").key("k")).await;
    assert_eq!((kept.status, kept.text(), kept.is_replayed()), (502, "1", true));
    let (first, second) = twice(&server.post("/discard").key("k")).await;
    first.is_run(2);
    second.is_run(3);
}

async fn a_refusal_that_asks_for_another_try_frees_the_key(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn busy(State(runs): State<Runs>) -> impl IntoResponse {
        (StatusCode::CONFLICT, [("retry-after", "5")], runs.begin().to_string())
    }
    #[idempotent(ttl = "24h")]
    async fn accepted(State(runs): State<Runs>) -> impl IntoResponse {
        (StatusCode::ACCEPTED, [("retry-after", "5")], runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/busy", post(busy)).route("/accepted", post(accepted))).await;
    let (first, second) = twice(&server.post("/busy").key("k")).await;
    assert_eq!((first.text(), second.text(), second.is_replayed()), ("1", "2", false));
    let (_, polled) = twice(&server.post("/accepted").key("k")).await;
    assert_eq!((polled.text(), polled.is_replayed(), polled.retry_after()), ("3", true, Some(5)));
}

/// Where a response says how its call ended.
#[derive(Clone, Copy, Deserialize)]
enum Place {
    /// In a response without a body.
    Header,
    Trailer,
    /// In a trailer that comes later than the engine waits for it.
    LateTrailer,
}

#[derive(Deserialize)]
struct Called {
    code: String,
    place: Place,
}

#[idempotent(ttl = "24h")]
async fn call(State(runs): State<Runs>, Query(called): Query<Called>) -> Response {
    let (number, code) = (runs.begin(), HeaderValue::from_str(&called.code).unwrap());
    let status = HeaderName::from_static("grpc-status");
    if let Place::Header = called.place {
        return ([(status, code)], [("x-run", number.to_string())]).into_response();
    }
    let is_late = matches!(called.place, Place::LateTrailer);
    let trailers = async move {
        if is_late {
            runs.hold(number).await;
        }
        Some(Ok(HeaderMap::from_iter([(status, code)])))
    };
    let message = Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(number.to_string())]));
    ([("x-run", number.to_string())], Body::new(message.with_trailers(trailers))).into_response()
}

async fn a_failure_in_grpc_status_frees_the_key_as_its_http_status_would(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(call))).await;
    for place in ["Header", "Trailer"] {
        let mut replayed = Vec::new();
        for code in (0..=16).map(|code| code.to_string()).chain(["17".to_owned(), "nonsense".to_owned()]) {
            let call = server.post(&format!("/?place={place}&code={code}")).key(format!("{place} {code}"));
            let (first, second) = twice(&call).await;
            let runs = (first.line("x-run"), second.line("x-run"));
            assert_eq!((first.status, second.status, runs.0 == runs.1), (200, 200, second.is_replayed()), "{code}");
            if second.is_replayed() {
                replayed.push(code);
            }
        }
        // OK, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION and OUT_OF_RANGE.
        assert_eq!(replayed, ["0", "3", "5", "6", "9", "11"], "{place}");
    }
}

async fn a_failure_in_a_late_trailer_is_never_replayed(stage: Stage) {
    let settings = stage.settings().response_patience(Duration::from_millis(20));
    let server = stage.serve_with(settings, Router::new().route("/", post(call))).await;
    for (number, code) in [(1, "0"), (2, "14")] {
        let call = server.post(&format!("/?place=LateTrailer&code={code}")).key(code);
        let first = call.start();
        server.runs.begun(number).await;
        let is_sent = || async { call.send().await.text().contains("not-replayable") };
        until("the response to be sent before its end", is_sent).await;
        server.runs.open(number);
        assert_eq!(first.await.unwrap().text(), number.to_string());
        server.idempotency.drain().await;
        let retry = call.send().await;
        if code == "0" {
            assert!(retry.is_replayed(), "{retry:?}");
        } else {
            retry.is_problem(409, "not-replayable");
        }
    }
}
