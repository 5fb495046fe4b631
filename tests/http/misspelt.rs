//! Keys that are sent in the wrong header.

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idempotent_runtime::idempotent;

use crate::stage::{App, Runs, Stage, create, on_memory};

on_memory!(
    a_misspelt_header_never_runs_unprotected,
    a_misspelt_header_is_named_where_a_key_is_required,
    other_headers_are_no_misspelt_ones,
    an_old_name_of_the_header_is_accepted_where_the_service_says_so,
    a_retry_after_a_change_of_the_headers_name_is_known_by_the_new_name_only,
    two_different_keys_in_the_old_and_the_new_header_are_refused,
);

#[idempotent(ttl = "24h", required = false)]
async fn optional(State(runs): State<Runs>) -> (StatusCode, String) {
    (StatusCode::CREATED, runs.begin().to_string())
}

fn optional_route() -> Router<App> {
    Router::new().route("/", post(optional))
}

const MISSPELT: [&str; 14] = [
    "x-idempotency-key",
    "idempotence-key",
    "idempotency_key",
    "idempotent-key",
    "idempotencykey",
    "idempotency-token",
    "x-idempotent-key",
    "request-idempotency-key",
    "idempotency",
    "idempotency-keys",
    "idempotancy-key",
    "idemptency-key",
    "indempotency-key",
    "x-idempodency-key",
];

async fn a_misspelt_header_never_runs_unprotected(stage: Stage) {
    let server = stage.serve(optional_route()).await;
    for name in MISSPELT {
        let answer = server.post("/").header(name, "k").send().await;
        answer.is_problem(400, "key-missing");
        assert!(answer.detail().contains("`Idempotency-Key`"), "{name}: {answer:?}");
    }
    assert_eq!((server.runs.count(), stage.store.calls_of_any_kind()), (0, 0));
    // If the right header is there too, the wrong one does not matter.
    server.post("/").key("k").header("x-idempotency-key", "another").send().await.is_run(1);
}

async fn a_misspelt_header_is_named_where_a_key_is_required(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    let answer = server.post("/").header("x-idempotency-key", "k").send().await;
    answer.is_problem(400, "key-missing");
    assert!(answer.detail().contains("`X-Idempotency-Key`"), "{answer:?}");
}

async fn other_headers_are_no_misspelt_ones(stage: Stage) {
    let server = stage.serve(optional_route()).await;
    for (index, name) in
        ["x-request-id", "x-api-key", "idempotent-replayed", "if-match", "sec-websocket-key"].into_iter().enumerate()
    {
        server.post("/").header(name, "k").send().await.is_run(index + 1);
    }
}

async fn an_old_name_of_the_header_is_accepted_where_the_service_says_so(stage: Stage) {
    let settings = stage.settings().header_aliases(["X-Idempotency-Key", "X-Request-Token"]);
    let server = stage.serve_with(settings, optional_route()).await;
    server.post("/").header("x-idempotency-key", "k").send().await.is_run(1);
    server.post("/").key("k").send().await.is_replay_of_run(1);
    server.post("/").header("x-request-token", "\"k\"").send().await.is_replay_of_run(1);
    server.post("/").key("k").header("x-idempotency-key", "\"k\"").send().await.is_replay_of_run(1);
}

async fn a_retry_after_a_change_of_the_headers_name_is_known_by_the_new_name_only(stage: Stage) {
    let before = stage.serve_with(stage.settings().header("webhook-id"), Router::new().route("/", post(create))).await;
    before.post("/").header("webhook-id", "k").send().await.is_run(1);

    let after = stage.serve(Router::new().route("/", post(create))).await;
    after.post("/").header("webhook-id", "k").send().await.is_problem(400, "key-missing");
    after.post("/").key("k").send().await.is_replay_of_run(1);
    assert_eq!(after.runs.count(), 0);

    let optional = stage.serve(optional_route()).await;
    optional.post("/").header("webhook-id", "k").send().await.is_run(1);
    optional.post("/").key("k").send().await.is_replay_of_run(1);
    let back = stage.serve_with(stage.settings().header("webhook-id"), optional_route()).await;
    back.post("/").key("k").send().await.is_problem(400, "key-missing");
    back.post("/").header("webhook-id", "k").send().await.is_replay_of_run(1);
}

async fn two_different_keys_in_the_old_and_the_new_header_are_refused(stage: Stage) {
    let settings = stage.settings().header_aliases(["X-Idempotency-Key"]);
    let server = stage.serve_with(settings, Router::new().route("/", post(create))).await;
    for (new, old) in [("a", "b"), ("a", ""), ("", "a"), ("a", "a, a")] {
        let call = server.post("/").key(new).header("x-idempotency-key", old);
        call.send().await.is_problem(400, "key-invalid");
    }
    assert_eq!((server.runs.count(), stage.store.calls_of_any_kind()), (0, 0));
}
