//! Which keys are accepted, and which spellings are the same key.

use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode},
    routing::{any, post},
};
use idempotent_runtime::{Claim, Inspection, RequestName, idempotent, store::ForgetOutcome};

use crate::stage::{App, Runs, Stage, create, on_every_store, on_memory};

on_every_store!(
    an_optional_key_protects_all_the_same,
    a_different_key_with_the_same_body_is_another_order,
    a_uuid_is_one_key_however_it_is_written,
    a_ulid_is_one_key_in_either_case_and_is_found_by_it,
);

on_memory!(
    a_request_without_a_key_is_refused,
    a_request_without_a_key_runs_unprotected_where_keys_are_optional,
    an_invalid_key_is_refused_and_nothing_runs,
    a_too_long_key_is_never_silently_unprotected,
    the_second_of_two_header_lines_is_not_ignored,
    a_quoted_and_a_bare_key_are_one_key,
    two_lines_joined_by_a_proxy_are_no_key,
    a_comma_inside_a_string_is_part_of_the_key,
    a_uuid_is_demanded_and_its_case_does_not_matter,
    the_nil_and_the_max_uuid_are_no_keys,
    safe_methods_ignore_the_key,
    every_registered_safe_method_runs_without_a_key,
    the_key_can_come_in_another_header,
);

fn routes() -> Router<App> {
    Router::new().route("/payments", post(create))
}

async fn a_request_without_a_key_is_refused(stage: Stage) {
    let server = stage.serve(routes()).await;
    let answer = server.post("/payments").send().await;
    answer.is_problem(400, "key-missing");
    assert!(answer.detail().contains("`Idempotency-Key`"), "{answer:?}");
    assert_eq!((server.runs.count(), stage.store.calls_of_any_kind()), (0, 0));
}

#[idempotent(ttl = "24h", required = false)]
async fn optional(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
    runs.note(format!("{:?} {}", claim.key(), claim.protected()));
    (StatusCode::CREATED, runs.begin().to_string())
}

async fn a_request_without_a_key_runs_unprotected_where_keys_are_optional(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(optional))).await;
    let call = server.post("/");
    call.send().await.is_run(1);
    call.send().await.is_run(2);
    assert_eq!(server.runs.notes(), ["None false", "None false"]);
}

async fn an_optional_key_protects_all_the_same(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(optional))).await;
    let call = server.post("/").key("k");
    call.send().await.is_run(1);
    call.send().await.is_replay_of_run(1);
    server.post("/").key("").send().await.is_problem(400, "key-invalid");
    assert_eq!(server.runs.notes(), ["Some(\"k\") true"]);
}

async fn an_invalid_key_is_refused_and_nothing_runs(stage: Stage) {
    let server = stage.serve(routes()).await;
    let too_long = "k".repeat(256);
    let invalid: [&[u8]; 9] = [
        b"",
        b"   ",
        b"\"\"",
        too_long.as_bytes(),
        "schl\u{fc}ssel".as_bytes(),
        b"\xff\xfe",
        b"a\tb",
        b"\"open",
        b"\"a\", \"b\"",
    ];
    for key in invalid {
        let answer = server.post("/payments").key(key).send().await;
        answer.is_problem(400, "key-invalid");
        assert!(!answer.text().contains("schl"), "the key is repeated: {answer:?}");
    }
    assert_eq!((server.runs.count(), stage.store.calls_of_any_kind()), (0, 0));
}

async fn a_too_long_key_is_never_silently_unprotected(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(optional))).await;
    server.post("/").key("k".repeat(256)).send().await.is_problem(400, "key-invalid");
    // Quotes and escapes do not count towards the length.
    let longest = server.post("/").key(format!("\"{}\"", "\\\"".repeat(255)));
    longest.send().await.is_run(1);
    longest.send().await.is_replay_of_run(1);
}

async fn the_second_of_two_header_lines_is_not_ignored(stage: Stage) {
    let server = stage.serve(routes()).await;
    server.post("/payments").key("a").key("b").send().await.is_problem(400, "key-invalid");
    server.post("/payments").key("a").key("a").send().await.is_problem(400, "key-invalid");
    assert_eq!(server.runs.count(), 0);
}

async fn a_quoted_and_a_bare_key_are_one_key(stage: Stage) {
    let server = stage.serve(routes()).await;
    server.post("/payments").key("k-1").send().await.is_run(1);
    for same in ["\"k-1\"", "  k-1 ", "\"k-1\"; v=1"] {
        server.post("/payments").key(same).send().await.is_replay_of_run(1);
    }
    server.post("/payments").key("K-1").send().await.is_run(2);
}

async fn a_different_key_with_the_same_body_is_another_order(stage: Stage) {
    let server = stage.serve(routes()).await;
    server.post("/payments").key("a").body("one espresso").send().await.is_run(1);
    server.post("/payments").key("b").body("one espresso").send().await.is_run(2);
}

async fn two_lines_joined_by_a_proxy_are_no_key(stage: Stage) {
    let server = stage.serve(routes()).await;
    server.post("/payments").key("k").send().await.is_run(1);
    for joined in ["k, k", "k,k", "k ,k", "k,", ",k", ",", "a, b", "\"k\", \"k\"", "\"k\",k", "k, \"k\""] {
        server.post("/payments").key(joined).send().await.is_problem(400, "key-invalid");
    }
    assert_eq!(server.runs.count(), 1);
}

async fn a_comma_inside_a_string_is_part_of_the_key(stage: Stage) {
    let server = stage.serve(routes()).await;
    for (index, key) in ["\"k, k\"", "\"k,k\"", "\",\""].into_iter().enumerate() {
        server.post("/payments").key(key).send().await.is_run(index + 1);
        server.post("/payments").key(key).send().await.is_replay_of_run(index + 1);
    }
}

async fn the_nil_and_the_max_uuid_are_no_keys(stage: Stage) {
    #[idempotent(ttl = "24h", key = "uuid")]
    async fn by_uuid(State(runs): State<Runs>) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin().to_string())
    }
    #[idempotent(ttl = "24h", key = "uuidv7")]
    async fn by_dated(State(runs): State<Runs>) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let routes = routes().route("/uuid", post(by_uuid)).route("/dated", post(by_dated));
    let server = stage.serve(routes).await;
    for path in ["/uuid", "/dated", "/payments"] {
        for key in [
            "00000000-0000-0000-0000-000000000000",
            "\"00000000-0000-0000-0000-000000000000\"",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        ] {
            server.post(path).key(key).send().await.is_problem(400, "key-invalid");
        }
    }
    assert_eq!((server.runs.count(), stage.store.calls_of_any_kind()), (0, 0));
}

async fn a_uuid_is_one_key_however_it_is_written(stage: Stage) {
    let server = stage.serve(routes()).await;
    server.post("/payments").key("550e8400-e29b-41d4-a716-446655440000").send().await.is_run(1);
    for same in ["550E8400-E29B-41D4-A716-446655440000", "550e8400e29b41d4a716446655440000"] {
        server.post("/payments").key(same).send().await.is_replay_of_run(1);
    }
}

async fn a_ulid_is_one_key_in_either_case_and_is_found_by_it(stage: Stage) {
    let settings = stage.settings().header_aliases(["X-Key"]);
    let server = stage.serve_with(settings, routes()).await;
    let (lower, upper) = ("01arz3ndektsv4rrffq69g5fav", "01ARZ3NDEKTSV4RRFFQ69G5FAV");
    server.post("/payments").key(lower).send().await.is_run(1);
    server.post("/payments").key(upper).send().await.is_replay_of_run(1);
    server.post("/payments").key(upper).header("x-key", lower).send().await.is_replay_of_run(1);
    for key in [lower, upper] {
        let name = RequestName::new(Method::POST, "/payments", key);
        for name in [name.clone(), name.exact()] {
            let seen = server.idempotency.inspect(&name).await.unwrap();
            assert!(matches!(seen, Inspection::Finished { .. }), "{key}: {seen:?}");
        }
    }
    let name = RequestName::new(Method::POST, "/payments", lower);
    assert_eq!(server.idempotency.forget(&name).await.unwrap(), ForgetOutcome::Forgotten);
}

async fn a_uuid_is_demanded_and_its_case_does_not_matter(stage: Stage) {
    #[idempotent(ttl = "24h", key = "uuid")]
    async fn by_uuid(State(runs): State<Runs>) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(by_uuid))).await;
    server.post("/").key("order-1").send().await.is_problem(400, "key-invalid");
    server.post("/").key("550e8400-e29b-41d4-a716-446655440000").send().await.is_run(1);
    server.post("/").key("\"550E8400-E29B-41D4-A716-446655440000\"").send().await.is_replay_of_run(1);
}

async fn safe_methods_ignore_the_key(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn read(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
        assert!(!claim.protected() && claim.key().is_none());
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", any(read))).await;
    for (number, method) in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::GET].iter().enumerate()
    {
        let answer = server.call(method.clone(), "/").key("k").send().await;
        assert_eq!((answer.status, server.runs.count()), (201, number + 1), "{method}");
        assert!(!answer.is_replayed());
    }
    let without_a_key = server.call(Method::GET, "/").send().await;
    without_a_key.is_run(6);
    assert_eq!(stage.store.calls_of_any_kind(), 0);
}

async fn every_registered_safe_method_runs_without_a_key(stage: Stage) {
    let server = stage.serve(Router::new().route("/", any(create))).await;
    for (index, method) in ["PROPFIND", "REPORT", "SEARCH", "QUERY"].into_iter().enumerate() {
        let call = server.call(Method::from_bytes(method.as_bytes()).unwrap(), "/");
        call.send().await.is_run(index * 2 + 1);
        call.key("k").send().await.is_run(index * 2 + 2);
    }
    // These are idempotent at most.
    for method in ["PROPPATCH", "MKCOL", "propfind"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        server.call(method, "/").send().await.is_problem(400, "key-missing");
    }
    assert_eq!(stage.store.calls_of_any_kind(), 0);
}

async fn the_key_can_come_in_another_header(stage: Stage) {
    let server = stage.serve_with(stage.settings().header("X-Request-Token"), routes()).await;
    let answer = server.post("/payments").key("k").send().await;
    answer.is_problem(400, "key-missing");
    assert!(answer.detail().contains("`X-Request-Token`"), "{answer:?}");
    let call = server.post("/payments").header("x-request-token", "k");
    call.send().await.is_run(1);
    call.send().await.is_replay_of_run(1);
}
