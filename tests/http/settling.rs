//! Which responses are stored and replayed, and which free the key.

use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    response::IntoResponse,
    routing::{MethodRouter, post},
};
use idempotent_runtime::{Replay, idempotent};
use serde::Deserialize;

use crate::{
    replaying::twice,
    stage::{App, Runs, Stage, on_every_store, on_memory},
};

on_every_store!(by_default_final_answers_settle_the_key_and_others_free_it, the_handlers_word_goes_before_the_policy,);

on_memory!(
    success_settles_the_key_with_2xx_and_3xx_only,
    all_settles_the_key_with_any_status,
    a_refusal_that_asks_for_another_try_frees_the_key,
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
const ASKED: [u16; 40] = [
    200, 201, 202, 203, 206, 226, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410,
    411, 412, 416, 417, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 500, 503, 511,
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
    let free =
        [307, 308, 401, 403, 406, 407, 408, 411, 416, 417, 421, 423, 424, 425, 426, 428, 429, 431, 500, 503, 511];
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
