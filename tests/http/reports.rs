//! Faults that users of other middlewares reported, tested here.

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode, header},
    response::IntoResponse,
    routing::{any, post},
};
use idempotent_runtime::idempotent;

use crate::{
    replaying::twice,
    stage::{Runs, Stage, create, on_every_store, on_memory},
};

on_every_store!(
    ten_identical_requests_in_turn_have_one_result,
    a_key_that_failed_to_parse_its_body_can_be_sent_again_mended,
    a_delete_without_a_body_is_replayed,
    a_refusal_is_replayed_with_its_own_type_and_status,
);

on_memory!(
    a_gateways_own_marks_of_a_replay_are_not_kept_for_a_day,
    a_length_that_a_handler_sets_itself_fits_the_replayed_body,
    a_dry_run_is_never_the_answer_to_the_real_one,
    the_order_of_a_query_is_part_of_the_request,
);

async fn a_gateways_own_marks_of_a_replay_are_not_kept_for_a_day(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn gateway() -> impl IntoResponse {
        let marks =
            [("x-idempotent-replayed", "false"), ("idempotency-status", "new"), ("x-idempotency-cache", "MISS")];
        (StatusCode::CREATED, marks, [("idempotent-replayed", "false")])
    }
    let server = stage.serve(Router::new().route("/", post(gateway))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    assert_eq!((first.line("x-idempotent-replayed"), first.line("idempotent-replayed")), (Some("false"), None));
    assert!(second.is_replayed());
    for mark in ["x-idempotent-replayed", "idempotency-status", "x-idempotency-cache"] {
        assert_eq!(second.line(mark), None, "{second:?}");
    }
}

async fn a_length_that_a_handler_sets_itself_fits_the_replayed_body(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn counted(State(runs): State<Runs>) -> impl IntoResponse {
        runs.begin();
        let body = "{\"error\":\"no such account\"}";
        (StatusCode::UNPROCESSABLE_ENTITY, [(header::CONTENT_LENGTH, body.len().to_string())], body)
    }
    let server = stage.serve(Router::new().route("/", post(counted))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    assert_eq!((first.status, &first.body), (second.status, &second.body));
    assert_eq!((second.line("content-length"), server.runs.count()), (Some("27"), 1));
}

async fn a_dry_run_is_never_the_answer_to_the_real_one(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    server.post("/?dry=1").key("k").body("x").send().await.is_run(1);
    server.post("/").key("k").body("x").send().await.is_problem(422, "key-reused");
    server.post("/?dry=0").key("k").body("x").send().await.is_problem(422, "key-reused");
}

async fn the_order_of_a_query_is_part_of_the_request(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    server.post("/?a=1&b=2").key("k").send().await.is_run(1);
    server.post("/?b=2&a=1").key("k").send().await.is_problem(422, "key-reused");
}

async fn ten_identical_requests_in_turn_have_one_result(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    let call = server.post("/").key("k").body("x");
    call.send().await.is_run(1);
    for _ in 0..10 {
        call.send().await.is_replay_of_run(1);
    }
}

async fn a_key_that_failed_to_parse_its_body_can_be_sent_again_mended(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn parse(State(runs): State<Runs>, Json(number): Json<u32>) -> (StatusCode, String) {
        runs.note(number.to_string());
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(parse))).await;
    let call = server.post("/").key("k").header("content-type", "application/json");
    assert_eq!(call.clone().body("1e").send().await.status, 400);
    assert_eq!(stage.store.calls_of_any_kind(), 0);
    call.body("7").send().await.is_run(1);
}

async fn a_delete_without_a_body_is_replayed(stage: Stage) {
    let server = stage.serve(Router::new().route("/", any(create))).await;
    let call = server.call(Method::DELETE, "/").key("k");
    call.send().await.is_run(1);
    call.send().await.is_replay_of_run(1);
}

async fn a_refusal_is_replayed_with_its_own_type_and_status(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn declined(State(runs): State<Runs>) -> impl IntoResponse {
        runs.begin();
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (StatusCode::PAYMENT_REQUIRED, kind, "{\"type\":\"/declined\"}")
    }
    let server = stage.serve(Router::new().route("/", post(declined))).await;
    let (first, second) = twice(&server.post("/").key("k")).await;
    assert_eq!((second.status, second.text()), (402, "{\"type\":\"/declined\"}"));
    assert_eq!(first.line("content-type"), second.line("content-type"));
    assert!(second.is_replayed() && server.runs.count() == 1);
}
