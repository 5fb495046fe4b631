//! Handlers whose attribute names their operation: the name stands in place of method and route.

use axum::{
    Router,
    extract::{Path, State},
    http::{Method, StatusCode},
    routing::{post, put},
};
use idempotent_runtime::{Claim, Inspection, RequestName, idempotent};

use crate::stage::{App, Runs, Stage, on_memory};

on_memory!(
    a_retry_on_the_renamed_route_is_replayed,
    another_value_in_the_path_is_another_request,
    a_derived_key_does_not_change_with_the_route,
    an_operation_is_inspected_by_its_name,
    a_second_handler_with_the_same_operation_does_not_run,
);

#[idempotent(operation = "refunds.create")]
async fn refund(State(runs): State<Runs>, Path(id): Path<u64>, claim: Claim) -> (StatusCode, String) {
    runs.begin();
    (StatusCode::CREATED, format!("{id} {}", claim.derive_key("provider")))
}

#[idempotent(operation = "refunds.create")]
async fn other(State(runs): State<Runs>, Path(_id): Path<u64>) {
    runs.begin();
}

fn routes() -> Router<App> {
    Router::new()
        .route("/refunds/{id}", post(refund))
        .nest("/v2", Router::new().route("/refunds/{payment}", put(refund)))
}

async fn a_retry_on_the_renamed_route_is_replayed(stage: Stage) {
    let server = stage.serve(routes()).await;
    let first = server.post("/refunds/7").key("k").send().await;
    let retry = server.call(Method::PUT, "/v2/refunds/7").key("k").send().await;
    assert_eq!((retry.status, retry.text()), (201, first.text()));
    assert_eq!(server.runs.count(), 1);
}

async fn another_value_in_the_path_is_another_request(stage: Stage) {
    let server = stage.serve(routes()).await;
    server.post("/refunds/7").key("k").send().await;
    server.call(Method::PUT, "/v2/refunds/8").key("k").send().await.is_problem(422, "key-reused");
    server.call(Method::PUT, "/v2/refunds/7?dry=true").key("k").send().await.is_problem(422, "key-reused");
}

async fn a_derived_key_does_not_change_with_the_route(stage: Stage) {
    let before = stage.serve(routes()).await;
    let after = Stage::memory().serve(routes()).await;
    let first = before.post("/refunds/7").key("k").send().await;
    // The store has forgotten the key, and the provider has not.
    let again = after.call(Method::PUT, "/v2/refunds/7").key("k").send().await;
    assert_eq!(after.runs.count(), 1);
    assert_eq!(first.text(), again.text());
}

async fn an_operation_is_inspected_by_its_name(stage: Stage) {
    let server = stage.serve(routes()).await;
    server.post("/refunds/7").key("k").send().await;
    let seen = server.idempotency.inspect(&RequestName::of_operation("refunds.create", "k")).await.unwrap();
    assert!(matches!(seen, Inspection::Finished { status: StatusCode::CREATED, .. }), "{seen:?}");
}

async fn a_second_handler_with_the_same_operation_does_not_run(stage: Stage) {
    let server = stage.serve(routes().route("/other/{id}", post(other))).await;
    assert_eq!(server.post("/refunds/7").key("k").send().await.status, 201);
    assert_eq!(server.post("/other/7").key("l").send().await.status, 500);
    assert_eq!(server.post("/refunds/8").key("m").send().await.status, 201);
    assert_eq!(server.runs.count(), 2);
}
