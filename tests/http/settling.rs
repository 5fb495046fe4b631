//! Which responses settle a key, and which free it.

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
    stage::{App, Runs, Stage, on_every_store},
};

on_every_store!(
    by_default_final_answers_settle_the_key_and_others_free_it,
    success_settles_the_key_with_2xx_and_3xx_only,
    all_settles_the_key_with_any_status,
    the_handlers_word_goes_before_the_policy,
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

/// Which of some statuses settle their key, at a route that answers with the status it is asked for.
async fn settled(stage: &Stage, route: MethodRouter<App>) -> Vec<u16> {
    let server = stage.serve(Router::new().route("/", route)).await;
    let mut settled = Vec::new();
    for status in [200, 202, 302, 400, 401, 402, 403, 404, 408, 409, 410, 422, 425, 429, 500, 503] {
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
    assert_eq!(settled(&stage, post(answer)).await, [200, 202, 302, 400, 402, 404, 409, 410, 422]);
}

async fn success_settles_the_key_with_2xx_and_3xx_only(stage: Stage) {
    #[idempotent(ttl = "24h", replay = "success")]
    async fn answer(State(runs): State<Runs>, Query(wanted): Query<Wanted>) -> (StatusCode, String) {
        wanted.answer(&runs)
    }
    assert_eq!(settled(&stage, post(answer)).await, [200, 202, 302]);
}

async fn all_settles_the_key_with_any_status(stage: Stage) {
    #[idempotent(ttl = "24h", replay = "all")]
    async fn answer(State(runs): State<Runs>, Query(wanted): Query<Wanted>) -> (StatusCode, String) {
        wanted.answer(&runs)
    }
    assert_eq!(settled(&stage, post(answer)).await.len(), 16);
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
