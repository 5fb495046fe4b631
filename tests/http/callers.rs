//! Which caller a key belongs to, and which checks run before any replay.

use axum::{
    Extension, Router,
    extract::{FromRequestParts, Path, Request, State},
    http::{Method, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::{Inspection, RequestName, idempotent};

use crate::{
    identity::secret,
    stage::{Call, Runs, Stage, create, on_every_store, on_memory},
};

on_every_store!(
    one_caller_never_gets_another_callers_response,
    with_a_scope_each_caller_has_keys_of_their_own,
    a_revoked_permission_is_checked_before_any_replay,
    a_gateway_that_passes_the_key_on_does_not_meet_its_own_claim,
    services_of_one_namespace_share_their_keys,
);

on_memory!(
    the_credential_headers_can_be_chosen,
    cookies_count_however_they_are_spread_over_lines,
    one_cookie_can_be_named_and_then_the_others_do_not_count,
    two_tenants_of_one_caller_are_told_apart_by_the_tenants_header,
    a_refreshed_token_is_the_same_caller_by_scope,
    an_empty_scope_names_nobody_so_the_credentials_are_compared,
    a_layer_that_refuses_is_asked_before_any_replay,
    a_request_that_an_extractor_rejects_leaves_the_key_unused,
);

async fn one_caller_never_gets_another_callers_response(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(secret))).await;
    let by = |who: &str| server.post("/").key("k").header("authorization", format!("Bearer {who}"));
    by("alice").send().await.is_run(1);
    for other in [by("mallory"), server.post("/").key("k"), by("alice").header("authorization", "Bearer alice")] {
        let answer = other.send().await;
        answer.is_problem(422, "key-reused");
        assert!(answer.detail().contains("credentials"), "{answer:?}");
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

async fn cookies_count_however_they_are_spread_over_lines(stage: Stage) {
    let settings = stage.settings().credentials([header::COOKIE]);
    let server = stage.serve_with(settings, Router::new().route("/", post(secret))).await;
    let by = |cookie: &str| server.post("/").key("k").header("cookie", cookie);
    by("session=a; theme=b").send().await.is_run(1);
    // An HTTP/2 client may send each cookie in its own header line.
    by("session=a").header("cookie", "theme=b").send().await.is_replay_of_run(1);
    by("session=a;theme=b;").send().await.is_replay_of_run(1);
    // A client's cookie jar may send them in another order.
    by("theme=b; session=a").send().await.is_replay_of_run(1);
    by("session=b; theme=b").send().await.is_problem(422, "key-reused");
    by("session=a").send().await.is_problem(422, "key-reused");
    server.post("/").key("k").send().await.is_problem(422, "key-reused");
}

async fn one_cookie_can_be_named_and_then_the_others_do_not_count(stage: Stage) {
    let settings = stage.settings().credential_cookie("session");
    let server = stage.serve_with(settings, Router::new().route("/", post(secret))).await;
    let by = |cookie: &str| server.post("/").key("k").header("cookie", cookie);
    by("session=a; _ga=1").send().await.is_run(1);
    for same in ["session=a; _ga=2", "_ga=3;session=a", "session=a", " session=a ;xsession=b; Session=c"] {
        by(same).send().await.is_replay_of_run(1);
    }
    by("_ga=3").header("cookie", "session=a").send().await.is_replay_of_run(1);
    for other in ["session=b; _ga=1", "_ga=1", "session=", "sessions=a", "session=a; session=b"] {
        by(other).send().await.is_problem(422, "key-reused");
    }
    // Other credentials still count.
    by("session=a").header("authorization", "Bearer mallory").send().await.is_problem(422, "key-reused");
}

async fn two_tenants_of_one_caller_are_told_apart_by_the_tenants_header(stage: Stage) {
    let settings = stage.settings().credentials(["authorization", "stripe-account"]);
    let server = stage.serve_with(settings, Router::new().route("/", post(secret))).await;
    let by = |tenant: &str| {
        server.post("/").key("k").header("authorization", "Bearer platform").header("stripe-account", tenant)
    };
    by("acct_a").send().await.is_run(1);
    let other = by("acct_b").send().await;
    other.is_problem(422, "key-reused");
    assert_eq!(other.line("x-secret"), None);
    by("acct_a").send().await.is_replay_of_run(1);
}

/// The caller, read from a token such as `Bearer alice.7`. The number changes whenever the token is refreshed.
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
    assert!(!reused.detail().contains("credentials"), "a scope names the caller: {reused:?}");
}

async fn a_refreshed_token_is_the_same_caller_by_scope(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(by_user))).await;
    let by = |token: &str| server.post("/").key("k").header("authorization", format!("Bearer {token}"));
    by("alice.1").send().await.is_run(1);
    by("alice.2").send().await.is_replay_of_run(1);
}

/// Guests have no id.
#[idempotent(ttl = "24h", scope = id)]
async fn by_id(Path(id): Path<String>, State(runs): State<Runs>) -> (StatusCode, String) {
    runs.note(id);
    (StatusCode::CREATED, runs.begin().to_string())
}

#[idempotent(ttl = "24h", scope = id, fingerprint = "none")]
async fn by_id_and_key_alone(Path(id): Path<String>, State(runs): State<Runs>) -> (StatusCode, String) {
    runs.note(id);
    (StatusCode::CREATED, runs.begin().to_string())
}

async fn an_empty_scope_names_nobody_so_the_credentials_are_compared(stage: Stage) {
    let routes = Router::new().route("/request/{*id}", post(by_id)).route("/alone/{*id}", post(by_id_and_key_alone));
    let server = stage.serve(routes).await;
    for (path, first) in [("/request/%20", 1), ("/alone/%20", 2)] {
        let by = |who: &str| server.post(path).key("k").header("authorization", format!("Bearer {who}"));
        by("one guest").send().await.is_run(first);
        let other = by("another guest").send().await;
        other.is_problem(422, "key-reused");
        assert!(other.detail().contains("credentials"), "{other:?}");
        by("one guest").send().await.is_replay_of_run(first);
    }
    // A caller with an id is told apart by it, as before.
    let alice = |token: &str| server.post("/request/alice").key("k").header("authorization", token);
    alice("1").send().await.is_run(3);
    alice("2").send().await.is_replay_of_run(3);
    // Its record is found by the name without a scope, and by the empty one.
    for name in ["", " "] {
        let name = RequestName::new(Method::POST, "/request/{*id}", "k").scope(name);
        assert!(matches!(server.idempotency.inspect(&name).await.unwrap(), Inspection::Finished { .. }));
    }
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
        // The extractor's own answer comes before the engine's.
        server.post("/").key("").send().await.status,
        server.post("/").send().await.status,
    ];
    assert_eq!(statuses, [401, 422, 400, 415, 401, 401]);
    assert_eq!(stage.store.calls_of_any_kind(), 0);
    by_alice.body("{\"amount\": 1}").send().await.is_run(1);
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
