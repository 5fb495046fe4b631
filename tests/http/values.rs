//! Handlers whose key or fingerprint is the value of an expression.

use std::collections::HashMap;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode},
    routing::{post, put},
};
use idempotent_runtime::{Inspection, RequestName, idempotent, store::ForgetOutcome};
use serde::{Deserialize, Deserializer, Serialize};

use crate::stage::{App, Call, Runs, Server, Stage, on_memory};

on_memory!(
    a_refusal_is_replayed_only_if_all_that_it_depends_on_is_compared,
    a_new_precondition_is_tried_where_a_value_is_the_fingerprint,
    a_corrected_value_that_the_fingerprint_leaves_out_is_tried,
    absent_null_and_set_are_three_values,
    a_number_of_any_size_is_a_fingerprint,
    the_order_of_a_map_does_not_count,
    two_providers_on_one_route_may_use_the_same_id,
    two_providers_of_one_operation_may_use_the_same_id,
    the_paths_values_are_told_apart_whatever_characters_they_have,
    with_a_fingerprint_the_path_of_a_key_is_compared,
    a_value_may_be_long_and_its_problem_speaks_of_the_value,
    a_value_with_quotes_or_white_space_is_forgotten_by_its_exact_form,
);

/// The status that the test wants, for the first execution only.
fn refused_at_first(runs: &Runs, headers: &HeaderMap) -> (StatusCode, String) {
    let number = runs.begin();
    let wanted = headers.get("x-status").and_then(|status| status.to_str().ok()?.parse().ok());
    (wanted.unwrap_or(StatusCode::CREATED), number.to_string())
}

#[idempotent(ttl = "24h", fingerprint = amount)]
async fn by_value(State(runs): State<Runs>, headers: HeaderMap, amount: String) -> (StatusCode, String) {
    runs.note(amount);
    refused_at_first(&runs, &headers)
}

#[idempotent(ttl = "24h", fingerprint = "none")]
async fn by_key_alone(State(runs): State<Runs>, headers: HeaderMap, _amount: String) -> (StatusCode, String) {
    refused_at_first(&runs, &headers)
}

#[idempotent(ttl = "24h")]
async fn by_request(State(runs): State<Runs>, headers: HeaderMap, _amount: String) -> (StatusCode, String) {
    refused_at_first(&runs, &headers)
}

fn routes() -> Router<App> {
    Router::new().route("/value", put(by_value)).route("/alone", put(by_key_alone)).route("/request", put(by_request))
}

/// Which of the statuses free the key at this path.
async fn freed(server: &Server, path: &str, statuses: &[u16]) -> Vec<u16> {
    let mut freed = Vec::new();
    for &status in statuses {
        let call = || server.call(Method::PUT, path).key(status.to_string()).body("1");
        assert_eq!(call().header("x-status", status.to_string()).send().await.status, status);
        let again = call().send().await;
        match (again.status, again.is_replayed()) {
            (201, false) => freed.push(status),
            (same, true) if same == status => {}
            _ => panic!("{status}: {again:?}"),
        }
    }
    freed
}

async fn a_refusal_is_replayed_only_if_all_that_it_depends_on_is_compared(stage: Stage) {
    let server = stage.serve(routes()).await;
    // On headers: the preconditions, the content type, its coding. On the content: the query, the body, their size.
    let (of_message, of_state) = ([304, 400, 412, 413, 414, 415, 422], [402, 404, 405, 409, 410, 451]);
    let all = [&of_message[..], &of_state].concat();
    assert_eq!(freed(&server, "/request", &all).await, [0; 0]);
    assert_eq!(freed(&server, "/value", &all).await, of_message);
    assert_eq!(freed(&server, "/alone", &all).await, of_message);
    // What depends on `Accept`, `Range` and the like frees the key everywhere.
    for path in ["/request", "/value", "/alone"] {
        assert_eq!(freed(&server, path, &[406, 416, 417, 428]).await, [406, 416, 417, 428]);
    }
}

async fn a_new_precondition_is_tried_where_a_value_is_the_fingerprint(stage: Stage) {
    #[idempotent(ttl = "24h", fingerprint = amount)]
    async fn change(State(runs): State<Runs>, headers: HeaderMap, amount: String) -> (StatusCode, String) {
        let is_current = headers.get("if-match").is_some_and(|tag| tag == "\"2\"");
        let status = if is_current { StatusCode::CREATED } else { StatusCode::PRECONDITION_FAILED };
        (status, format!("{}{}", runs.begin(), &amount[..0]))
    }
    let server = stage.serve(Router::new().route("/", put(change))).await;
    let with = |tag: &str| server.call(Method::PUT, "/").key("k").header("if-match", tag).body("1");
    assert_eq!(with("\"1\"").send().await.status, 412);
    with("\"2\"").send().await.is_run(2);
    with("\"2\"").send().await.is_replay_of_run(2);
}

async fn a_corrected_value_that_the_fingerprint_leaves_out_is_tried(stage: Stage) {
    #[derive(Deserialize)]
    struct Withdrawal {
        amount: u64,
        password: String,
    }
    #[idempotent(ttl = "24h", fingerprint = new.amount)]
    async fn withdraw(State(runs): State<Runs>, Json(new): Json<Withdrawal>) -> (StatusCode, String) {
        let is_right = new.password == "314159";
        (if is_right { StatusCode::CREATED } else { StatusCode::BAD_REQUEST }, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(withdraw))).await;
    assert_eq!(json(&server, "/", r#"{"amount": 1, "password": "314195"}"#).send().await.status, 400);
    json(&server, "/", r#"{"amount": 1, "password": "314159"}"#).send().await.is_run(2);
    json(&server, "/", r#"{"amount": 1, "password": "314159"}"#).send().await.is_replay_of_run(2);
}

/// A patch that says of a member: leave it, clear it, or set it.
#[allow(clippy::option_option)] // the outer one says whether the member is there
#[derive(Deserialize, Serialize)]
struct Patch {
    #[serde(default, deserialize_with = "given")]
    note: Option<Option<String>>,
    #[serde(default)]
    limits: HashMap<String, u64>,
}

#[allow(clippy::option_option)] // the outer one says whether the member is there
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn json(server: &Server, path: &str, body: &str) -> Call {
    server.post(path).key("k").header("content-type", "application/json").body(body.to_owned())
}

async fn absent_null_and_set_are_three_values(stage: Stage) {
    #[idempotent(ttl = "24h", fingerprint = patch)]
    async fn change(State(runs): State<Runs>, Json(patch): Json<Patch>) -> (StatusCode, String) {
        runs.note(format!("{:?}", patch.note));
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(change))).await;
    json(&server, "/", "{}").send().await.is_run(1);
    json(&server, "/", r#"{"note": null}"#).send().await.is_problem(422, "key-reused");
    json(&server, "/", r#"{"note": "x"}"#).send().await.is_problem(422, "key-reused");
    json(&server, "/", " { } ").send().await.is_replay_of_run(1);
    assert_eq!(server.runs.notes(), ["None"]);
}

async fn a_number_of_any_size_is_a_fingerprint(stage: Stage) {
    #[idempotent(ttl = "24h", fingerprint = number)]
    async fn count(State(runs): State<Runs>, Json(number): Json<u128>) -> (StatusCode, String) {
        runs.note(number.to_string());
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(count))).await;
    json(&server, "/", "340282366920938463463374607431768211455").send().await.is_run(1);
    json(&server, "/", "340282366920938463463374607431768211454").send().await.is_problem(422, "key-reused");
    json(&server, "/", "340282366920938463463374607431768211455").send().await.is_replay_of_run(1);
}

async fn the_order_of_a_map_does_not_count(stage: Stage) {
    #[idempotent(ttl = "24h", fingerprint = &patch.limits)]
    async fn limit(State(runs): State<Runs>, Json(patch): Json<Patch>) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(limit))).await;
    let limits = |names: &[u8]| {
        let members: Vec<String> = names.iter().map(|name| format!("\"{name}\": {name}")).collect();
        json(&server, "/", &format!("{{\"limits\": {{{}}}}}", members.join(",")))
    };
    limits(&[1, 2, 3, 4, 5, 6, 7, 8]).send().await.is_run(1);
    // Each request's map has its own order.
    for _ in 0..10 {
        limits(&[8, 7, 6, 5, 4, 3, 2, 1]).send().await.is_replay_of_run(1);
    }
    limits(&[1, 2, 3, 4, 5, 6, 7]).send().await.is_problem(422, "key-reused");
}

/// The id of an event, which a provider chose.
#[derive(Deserialize)]
struct Event {
    id: Option<String>,
}

#[idempotent(ttl = "24h", key = event.id, fingerprint = "none")]
async fn receive(State(runs): State<Runs>, Json(event): Json<Event>) -> (StatusCode, String) {
    runs.note(event.id.unwrap_or_default());
    (StatusCode::CREATED, runs.begin().to_string())
}

fn event(server: &Server, path: &str, id: &str) -> Call {
    server.post(path).header("content-type", "application/json").body(serde_json::json!({ "id": id }).to_string())
}

async fn two_providers_on_one_route_may_use_the_same_id(stage: Stage) {
    let server = stage.serve(Router::new().route("/hooks/{provider}", post(receive))).await;
    event(&server, "/hooks/stripe", "evt_1").send().await.is_run(1);
    event(&server, "/hooks/paddle", "evt_1").send().await.is_run(2);
    event(&server, "/hooks/stripe", "evt_1").send().await.is_replay_of_run(1);
    event(&server, "/hooks/paddle?again=1", "evt_1").send().await.is_replay_of_run(2);
    // The name is found by the path.
    let name = RequestName::new(Method::POST, "/hooks/paddle", "evt_1");
    assert!(matches!(server.idempotency.inspect(&name).await.unwrap(), Inspection::Finished { .. }));
    assert_eq!(server.idempotency.forget(&name).await.unwrap(), ForgetOutcome::Forgotten);
    event(&server, "/hooks/paddle", "evt_1").send().await.is_run(3);
    event(&server, "/hooks/stripe", "evt_1").send().await.is_replay_of_run(1);
}

async fn two_providers_of_one_operation_may_use_the_same_id(stage: Stage) {
    #[idempotent(ttl = "24h", operation = "hooks.receive", key = event.id, fingerprint = "none")]
    async fn named(State(runs): State<Runs>, Json(event): Json<Event>) -> (StatusCode, String) {
        runs.note(event.id.unwrap_or_default());
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let routes =
        Router::new().route("/hooks/{provider}", post(named)).route("/hooks/{provider}/{account}", post(named));
    let server = stage.serve(routes).await;
    event(&server, "/hooks/stripe", "evt_1").send().await.is_run(1);
    event(&server, "/hooks/paddle", "evt_1").send().await.is_run(2);
    event(&server, "/hooks/stripe", "evt_1").send().await.is_replay_of_run(1);
    event(&server, "/hooks/x/y", "evt_1").send().await.is_run(3);
    event(&server, "/hooks/x%2Fy", "evt_1").send().await.is_run(4);
    for values in ["paddle", "x/y", "x%2Fy"] {
        let operation = format!("hooks.receive/{values}");
        let name = RequestName::of_operation(&operation, "evt_1");
        assert!(matches!(server.idempotency.inspect(&name).await.unwrap(), Inspection::Finished { .. }), "{values}");
        assert_eq!(server.idempotency.forget(&name).await.unwrap(), ForgetOutcome::Forgotten, "{values}");
    }
}

async fn the_paths_values_are_told_apart_whatever_characters_they_have(stage: Stage) {
    let routes = Router::new()
        .route("/a/{one}", post(receive))
        .route("/a/{one}/{two}", post(receive))
        .route("/b/{*rest}", post(receive));
    let server = stage.serve(routes).await;
    let paths = [
        "/a/x%2Fy",
        "/a/x/y",
        "/a/x:y/z",
        "/a/x/y:z",
        "/a/%7Bone%7D/y",
        "/a/*/y",
        "/a/a%20b",
        "/a/%252F",
        "/b/x/y",
        "/b/x",
        "/b/*",
        "/b/**",
        "/b/a%20b/c",
    ];
    for (index, path) in paths.into_iter().enumerate() {
        event(&server, path, "1").send().await.is_run(index + 1);
        event(&server, path, "1").send().await.is_replay_of_run(index + 1);
        // The name is found by the path as it was sent.
        let name = RequestName::new(Method::POST, path, "1");
        assert!(matches!(server.idempotency.inspect(&name).await.unwrap(), Inspection::Finished { .. }), "{path}");
    }
}

async fn with_a_fingerprint_the_path_of_a_key_is_compared(stage: Stage) {
    #[idempotent(ttl = "24h", key = event.id, fingerprint = event.id)]
    async fn compared(
        Path(provider): Path<String>,
        State(runs): State<Runs>,
        Json(event): Json<Event>,
    ) -> (StatusCode, String) {
        runs.note(format!("{provider} {:?}", event.id));
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/hooks/{provider}", post(compared))).await;
    event(&server, "/hooks/stripe", "evt_1").send().await.is_run(1);
    event(&server, "/hooks/paddle", "evt_1").send().await.is_problem(422, "key-reused");
}

async fn a_value_may_be_long_and_its_problem_speaks_of_the_value(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(receive))).await;
    let long = "x".repeat(5_000);
    event(&server, "/", &long).send().await.is_run(1);
    event(&server, "/", &long).send().await.is_replay_of_run(1);
    event(&server, "/", &format!("{long}x")).send().await.is_run(2);
    let nil = event(&server, "/", "00000000-0000-0000-0000-000000000000").send().await;
    nil.is_problem(400, "key-invalid");
    assert!(nil.detail().contains("value") && !nil.detail().contains("header"), "{nil:?}");
    for missing in ["", "  "] {
        let missing = event(&server, "/", missing).send().await;
        missing.is_problem(400, "key-missing");
        assert!(missing.detail().contains("value") && !missing.detail().contains("header"), "{missing:?}");
    }
}

/// A header's key is read without quotes and outer white space, a value is not. So a name may be exact.
async fn a_value_with_quotes_or_white_space_is_forgotten_by_its_exact_form(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(receive))).await;
    let keys = ["k", "\"k\"", " k ", "\"k\";v=1", "a,b", "sch\u{fc}ssel", "550E8400-E29B-41D4-A716-446655440000"];
    for (index, key) in keys.into_iter().enumerate() {
        event(&server, "/", key).send().await.is_run(index + 1);
    }
    for (index, key) in keys.into_iter().enumerate().skip(1) {
        let name = RequestName::new(Method::POST, "/", key).exact();
        assert!(matches!(server.idempotency.inspect(&name).await.unwrap(), Inspection::Finished { .. }), "{key}");
        assert_eq!(server.idempotency.forget(&name).await.unwrap(), ForgetOutcome::Forgotten, "{key}");
        event(&server, "/", key).send().await.is_run(keys.len() + index);
    }
    // The others' records are still there.
    event(&server, "/", "k").send().await.is_replay_of_run(1);
}
