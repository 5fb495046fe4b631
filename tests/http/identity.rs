//! Which requests are the same one, and whose they are.

use axum::{
    Extension, Router,
    extract::{FromRequestParts, Path, Request, State},
    http::{Method, StatusCode, Uri, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use idempotent_runtime::idempotent;

use crate::stage::{Call, Runs, Stage, create, on_every_store};

on_every_store!(
    another_body_is_refused_and_nothing_of_the_stored_response_leaks,
    another_body_is_refused_while_the_first_is_running,
    another_query_or_path_parameter_is_another_request,
    another_method_never_gets_the_first_answer,
    another_route_never_gets_the_first_answer,
    one_handler_on_two_routes_has_two_identities,
    two_tenants_of_a_nested_router_do_not_meet,
    two_tenants_by_scope_each_run,
    a_route_without_a_pattern_is_known_by_its_path,
    one_caller_never_gets_another_callers_response,
    the_credential_headers_can_be_chosen,
    with_a_scope_each_caller_has_keys_of_their_own,
    a_refreshed_token_is_the_same_caller_by_scope,
    separators_in_scope_and_key_do_not_collide,
    braces_and_percent_signs_in_keys_stay_distinct,
    a_revoked_permission_is_checked_before_any_replay,
    a_layer_that_refuses_is_asked_before_any_replay,
    a_request_that_an_extractor_rejects_leaves_the_key_unused,
    what_the_handler_does_to_its_arguments_changes_no_identity,
    a_gateway_that_passes_the_key_on_does_not_meet_its_own_claim,
    services_of_one_namespace_share_their_keys,
);

#[idempotent(ttl = "24h")]
async fn secret(State(runs): State<Runs>, body: Bytes) -> impl IntoResponse {
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
    // The right one is not disturbed.
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

async fn one_caller_never_gets_another_callers_response(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(secret))).await;
    let by = |who: &str| server.post("/").key("k").header("authorization", format!("Bearer {who}"));
    by("alice").send().await.is_run(1);
    for other in [by("mallory"), server.post("/").key("k"), by("alice").header("authorization", "Bearer alice")] {
        let answer = other.send().await;
        answer.is_problem(422, "key-reused");
        assert!(answer.detail().contains("`scope`"), "it must say what the service can do: {answer:?}");
        assert_eq!(answer.line("x-secret"), None);
    }
    by("alice").send().await.is_replay_of_run(1);
}

async fn the_credential_headers_can_be_chosen(stage: Stage) {
    let settings = stage.settings().credentials([header::COOKIE]);
    let server = stage.serve_with(settings, Router::new().route("/", post(secret))).await;
    let by = |cookie, token: &str| server.post("/").key("k").header("cookie", cookie).header("authorization", token);
    by("alice", "1").send().await.is_run(1);
    by("alice", "2").send().await.is_replay_of_run(1);
    by("mallory", "1").send().await.is_problem(422, "key-reused");
}

/// Who asks, by a token such as `Bearer alice.7`, whose number changes whenever it is refreshed.
#[derive(Clone)]
struct User {
    name: String,
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let token = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let name = token.and_then(|token| token.strip_prefix("Bearer ")?.split_once('.'));
        match name {
            Some((_, "revoked")) | None => Err((StatusCode::UNAUTHORIZED, "who are you?")),
            Some((name, _)) => Ok(Self { name: name.to_owned() }),
        }
    }
}

#[idempotent(ttl = "24h", scope = user.name)]
async fn by_user(user: User, State(runs): State<Runs>) -> (StatusCode, String) {
    runs.note(user.name);
    (StatusCode::CREATED, runs.begin().to_string())
}

async fn with_a_scope_each_caller_has_keys_of_their_own(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(by_user))).await;
    let by = |token: &str| server.post("/").key("k").header("authorization", format!("Bearer {token}"));
    by("alice.1").send().await.is_run(1);
    by("bob.1").send().await.is_run(2);
    by("alice.1").send().await.is_replay_of_run(1);
    by("bob.1").send().await.is_replay_of_run(2);
    let reused = by("bob.1").body("another").send().await;
    reused.is_problem(422, "key-reused");
    assert!(!reused.detail().contains("`scope`"), "there is one already: {reused:?}");
}

async fn a_refreshed_token_is_the_same_caller_by_scope(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(by_user))).await;
    let by = |token: &str| server.post("/").key("k").header("authorization", format!("Bearer {token}"));
    by("alice.1").send().await.is_run(1);
    by("alice.2").send().await.is_replay_of_run(1);
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

async fn a_revoked_permission_is_checked_before_any_replay(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(by_user))).await;
    let call = server.post("/").key("k");
    call.clone().header("authorization", "Bearer alice.1").send().await.is_run(1);
    let refused = call.header("authorization", "Bearer alice.revoked").send().await;
    assert_eq!((refused.status, refused.text(), refused.is_replayed()), (401, "who are you?", false));
}

async fn a_layer_that_refuses_is_asked_before_any_replay(stage: Stage) {
    async fn guard(request: Request, next: Next) -> Response {
        if request.headers().contains_key("x-revoked") {
            return StatusCode::FORBIDDEN.into_response();
        }
        next.run(request).await
    }
    let server = stage.serve(Router::new().route("/", post(create)).layer(middleware::from_fn(guard))).await;
    server.post("/").key("k").send().await.is_run(1);
    let refused = server.post("/").key("k").header("x-revoked", "1").send().await;
    assert_eq!((refused.status, refused.is_replayed()), (403, false));
}

async fn a_request_that_an_extractor_rejects_leaves_the_key_unused(stage: Stage) {
    #[derive(serde::Deserialize)]
    struct New {
        amount: u32,
    }
    #[idempotent(ttl = "24h")]
    async fn pay(user: User, State(runs): State<Runs>, axum::Json(new): axum::Json<New>) -> (StatusCode, String) {
        runs.note(format!("{} {}", user.name, new.amount));
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(pay))).await;
    let call = server.post("/").key("k").header("content-type", "application/json");
    let by_alice = call.clone().header("authorization", "Bearer alice.1");
    let statuses = [
        call.body("{\"amount\": 1}").send().await.status,
        by_alice.clone().body("{\"amount\": -1}").send().await.status,
        by_alice.clone().body("{").send().await.status,
        server.post("/").key("k").header("authorization", "Bearer alice.1").body("{}").send().await.status,
        // Its own answer goes before ours.
        server.post("/").key("").send().await.status,
        server.post("/").send().await.status,
    ];
    assert_eq!(statuses, [401, 422, 400, 415, 401, 401]);
    assert_eq!(stage.store.calls_of_any_kind(), 0);
    by_alice.body("{\"amount\": 1}").send().await.is_run(1);
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

async fn a_gateway_that_passes_the_key_on_does_not_meet_its_own_claim(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn forward(Extension(downstream): Extension<Call>) -> (StatusCode, String) {
        let answer = downstream.send().await;
        (StatusCode::from_u16(answer.status).unwrap(), answer.text().to_owned())
    }
    let ledger = stage.serve_with(stage.settings().namespace("ledger"), Router::new().route("/", post(create))).await;
    let downstream = Extension(ledger.post("/").key("k"));
    let routes = Router::new().route("/", post(forward)).layer(downstream);
    let gateway = stage.serve_with(stage.settings().namespace("gateway"), routes).await;
    gateway.post("/").key("k").send().await.is_run(1);
    gateway.post("/").key("k").send().await.is_replay_of_run(1);
    assert_eq!(ledger.runs.count(), 1);
}

async fn services_of_one_namespace_share_their_keys(stage: Stage) {
    let one = stage.serve(Router::new().route("/", post(create))).await;
    let two = stage.serve(Router::new().route("/", post(create))).await;
    one.post("/").key("k").send().await.is_run(1);
    two.post("/").key("k").send().await.is_replay_of_run(1);
    assert_eq!(two.runs.count(), 0);
}
