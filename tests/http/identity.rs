//! Which requests count as the same request.

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{Method, StatusCode, Uri},
    response::IntoResponse,
    routing::{any, post},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use idempotent_runtime::idempotent;

use crate::stage::{Runs, Stage, create, on_every_store, on_memory};

on_every_store!(
    another_body_is_refused_and_nothing_of_the_stored_response_leaks,
    another_body_is_refused_while_the_first_is_running,
    another_method_never_gets_the_first_answer,
    two_tenants_by_scope_each_run,
    separators_in_scope_and_key_do_not_collide,
    braces_and_percent_signs_in_keys_stay_distinct,
);

on_memory!(
    another_query_or_path_parameter_is_another_request,
    another_route_never_gets_the_first_answer,
    one_handler_on_two_routes_has_two_identities,
    two_tenants_of_a_nested_router_do_not_meet,
    a_route_without_a_pattern_is_known_by_its_path,
    what_the_handler_does_to_its_arguments_changes_no_identity,
);

#[idempotent(ttl = "24h")]
pub(crate) async fn secret(State(runs): State<Runs>, body: Bytes) -> impl IntoResponse {
    runs.note(body.len().to_string());
    (StatusCode::CREATED, [("x-secret", "top"), ("location", "/secret/1")], runs.begin().to_string())
}

async fn another_body_is_refused_and_nothing_of_the_stored_response_leaks(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(secret))).await;
    server.post("/").key("k").body("a").send().await.is_run(1);
    for body in ["b", "", "a "] {
        let answer = server.post("/").key("k").body(body).send().await;
        answer.is_problem(422, "key-reused");
        assert_eq!((answer.line("x-secret"), answer.line("location")), (None, None));
        assert!(!answer.text().contains("secret"), "{answer:?}");
    }
    // The original request is still replayed.
    server.post("/").key("k").body("a").send().await.is_replay_of_run(1);
}

#[idempotent(ttl = "24h")]
async fn held(State(runs): State<Runs>, body: Bytes) -> (StatusCode, String) {
    assert!(body.len() < 10);
    (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
}

async fn another_body_is_refused_while_the_first_is_running(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(held))).await;
    let first = server.post("/").key("k").body("a").start();
    server.runs.begun(1).await;
    server.post("/").key("k").body("b").send().await.is_problem(422, "key-reused");
    server.post("/").key("k").body("a").send().await.is_problem(409, "in-flight");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

#[idempotent(ttl = "24h")]
async fn refund(Path(id): Path<String>, State(runs): State<Runs>) -> (StatusCode, String) {
    runs.note(id);
    (StatusCode::CREATED, runs.begin().to_string())
}

async fn another_query_or_path_parameter_is_another_request(stage: Stage) {
    let server = stage.serve(Router::new().route("/payments/{id}/refund", post(refund))).await;
    server.post("/payments/1/refund?full=true").key("k").send().await.is_run(1);
    for path in
        ["/payments/2/refund?full=true", "/payments/1/refund?full=false", "/payments/1/refund", "/payments/1/refund?"]
    {
        server.post(path).key("k").send().await.is_problem(422, "key-reused");
    }
    server.post("/payments/1/refund?full=true").key("k").send().await.is_replay_of_run(1);
    assert_eq!(server.runs.notes(), ["1"]);
}

async fn another_method_never_gets_the_first_answer(stage: Stage) {
    let server = stage.serve(Router::new().route("/", any(create))).await;
    for (index, method) in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].into_iter().enumerate() {
        let call = server.call(method, "/").key("k");
        call.send().await.is_run(index + 1);
        call.send().await.is_replay_of_run(index + 1);
    }
}

async fn another_route_never_gets_the_first_answer(stage: Stage) {
    let server = stage.serve(Router::new().route("/payments", post(create)).route("/secrets", post(secret))).await;
    server.post("/secrets").key("k").send().await.is_run(1);
    let answer = server.post("/payments").key("k").send().await;
    answer.is_run(2);
    assert_eq!(answer.line("x-secret"), None);
}

async fn one_handler_on_two_routes_has_two_identities(stage: Stage) {
    let server = stage.serve(Router::new().route("/a", post(create)).route("/b", post(create).put(create))).await;
    server.post("/a").key("k").send().await.is_run(1);
    server.post("/b").key("k").send().await.is_run(2);
    server.call(Method::PUT, "/b").key("k").send().await.is_run(3);
    server.post("/a").key("k").send().await.is_replay_of_run(1);
}

async fn two_tenants_of_a_nested_router_do_not_meet(stage: Stage) {
    let payments = Router::new().route("/payments", post(secret));
    let server = stage.serve(Router::new().nest("/a/{tenant}", payments)).await;
    server.post("/a/alice/payments").key("k").body("1").send().await.is_run(1);
    let other = server.post("/a/bob/payments").key("k").body("1").send().await;
    other.is_problem(422, "key-reused");
    assert_eq!(other.line("x-secret"), None);
    server.post("/a/bob/payments").key("bobs own").body("1").send().await.is_run(2);
    server.post("/a/alice/payments").key("k").body("1").send().await.is_replay_of_run(1);
}

#[idempotent(ttl = "24h", scope = tenant)]
async fn by_tenant(Path(tenant): Path<String>, State(runs): State<Runs>) -> (StatusCode, String) {
    runs.note(tenant);
    (StatusCode::CREATED, runs.begin().to_string())
}

async fn two_tenants_by_scope_each_run(stage: Stage) {
    let payments = Router::new().route("/payments", post(by_tenant));
    let server = stage.serve(Router::new().nest("/a/{tenant}", payments)).await;
    for (index, tenant) in ["alice", "bob"].into_iter().enumerate() {
        let call = server.post(&format!("/a/{tenant}/payments")).key("k");
        call.send().await.is_run(index + 1);
        call.send().await.is_replay_of_run(index + 1);
    }
    assert_eq!(server.runs.notes(), ["alice", "bob"]);
}

async fn a_route_without_a_pattern_is_known_by_its_path(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create)).fallback(create)).await;
    server.post("/one").key("k").send().await.is_run(1);
    server.post("/two").key("k").send().await.is_run(2);
    server.post("/one").key("k").send().await.is_replay_of_run(1);
    server.post("/one?x").key("k").send().await.is_problem(422, "key-reused");
}

#[idempotent(ttl = "24h", scope = scope)]
async fn by_any_scope(Path(scope): Path<String>, State(runs): State<Runs>) -> (StatusCode, String) {
    runs.note(scope);
    (StatusCode::CREATED, runs.begin().to_string())
}

async fn separators_in_scope_and_key_do_not_collide(stage: Stage) {
    let server = stage.serve(Router::new().route("/{scope}", post(by_any_scope))).await;
    let pairs =
        [("a:b", "c"), ("a", "b:c"), ("a:", "b:c"), ("a%3Ab", "c"), ("a%253Ab", "c"), ("%3A", "c"), ("%2F", "c")];
    for (index, (scope, key)) in pairs.into_iter().enumerate() {
        // In the path a percent sign is written `%25`.
        let path = format!("/{}", scope.replace('%', "%25"));
        server.post(&path).key(key).send().await.is_run(index + 1);
        server.post(&path).key(key).send().await.is_replay_of_run(index + 1);
    }
}

async fn braces_and_percent_signs_in_keys_stay_distinct(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    let keys = ["{k}", "k", "%7Bk%7D", "*", "**", "#", "a:b", "a b", "a+b", "a%20b", "~k", "/k", "\"{\\\"k\\\"}\""];
    for (index, key) in keys.into_iter().enumerate() {
        server.post("/").key(key).send().await.is_run(index + 1);
    }
    assert!(stage.store.claims().iter().all(|attempt| !attempt.key.as_str().contains(['{', '}'])));
}

async fn what_the_handler_does_to_its_arguments_changes_no_identity(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn rewrites(State(runs): State<Runs>, mut request: Request) -> (StatusCode, String) {
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = Uri::from_static("/elsewhere");
        request.headers_mut().clear();
        request.extensions_mut().clear();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        runs.note(String::from_utf8(body.to_vec()).unwrap());
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(rewrites))).await;
    let call = server.post("/").key("k").header("authorization", "Bearer alice").body("a");
    call.send().await.is_run(1);
    call.send().await.is_replay_of_run(1);
    call.body("b").send().await.is_problem(422, "key-reused");
    assert_eq!(server.runs.notes(), ["a"]);
}
