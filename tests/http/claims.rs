//! What a handler can learn from its claim.

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{FromRequest, FromRequestParts, Request, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use idempotent_runtime::{Claim, idempotent};
use serde_json::{Value, json};
use tokio::{spawn, task::yield_now};
use tower::ServiceExt as _;

use crate::stage::{App, Runs, Stage, on_every_store};

on_every_store!(
    a_claim_tells_the_key_without_quotes,
    a_claim_is_found_at_any_position_and_more_than_once,
    a_claim_stays_that_of_its_handler_if_the_last_extractor_calls_another_handler_with_a_claim,
    fences_grow_from_attempt_to_attempt_after_a_release_as_well,
    derived_keys_are_the_same_for_every_attempt_and_differ_by_purpose,
    derived_keys_without_a_key_of_the_client_are_of_one_request,
    a_claim_in_an_extractor_or_a_plain_handler_is_not_protected,
);

fn shown(claim: &Claim) -> Value {
    json!({
        "key": claim.key(),
        "protected": claim.protected(),
        "recovering": claim.recovering(),
        "fenced": claim.fence() > 0,
    })
}

#[idempotent(ttl = "24h", required = false)]
async fn show(claim: Claim) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(shown(&claim)))
}

async fn a_claim_tells_the_key_without_quotes(stage: Stage) {
    let server = stage.serve(Router::new().route("/", any(show))).await;
    let json = |answer: crate::stage::Answer| serde_json::from_slice::<Value>(&answer.body).unwrap();
    let protected = json!({ "key": "a \"b\"", "protected": true, "recovering": false, "fenced": true });
    assert_eq!(json(server.post("/").key("\"a \\\"b\\\"\"").send().await), protected);
    let unprotected = json!({ "key": null, "protected": false, "recovering": false, "fenced": false });
    assert_eq!(json(server.post("/").send().await), unprotected);
    let safe = server.call(axum::http::Method::GET, "/").key("k").send().await;
    assert_eq!(json(safe), unprotected);
}

async fn a_claim_is_found_at_any_position_and_more_than_once(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn first(claim: Claim, _body: String) -> String {
        claim.fence().to_string()
    }
    #[idempotent(ttl = "24h")]
    async fn last(State(runs): State<Runs>, claim: Claim) -> String {
        runs.begin();
        claim.fence().to_string()
    }
    #[idempotent(ttl = "24h")]
    async fn twice(one: Claim, another: Claim) -> String {
        assert_eq!(one.fence(), another.fence());
        one.fence().to_string()
    }
    /// Takes the whole request, waits before and after it has taken the claim, and takes it in a task.
    struct Whole(Claim);
    impl<S: Send + Sync> FromRequest<S> for Whole {
        type Rejection = Response;

        async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
            let (mut parts, body) = request.into_parts();
            yield_now().await;
            let mut others = parts.clone();
            let in_a_task = spawn(async move { Claim::from_request_parts(&mut others, &()).await });
            let Ok(claim) = in_a_task.await.unwrap();
            let Ok(_again) = Claim::from_request_parts(&mut parts, state).await;
            yield_now().await;
            let body = String::from_request(Request::from_parts(parts, body), state).await;
            body.map(|_| Self(claim)).map_err(IntoResponse::into_response)
        }
    }
    #[idempotent(ttl = "24h")]
    async fn inside(whole: Whole) -> String {
        whole.0.fence().to_string()
    }
    let routes = Router::new().route("/first", post(first)).route("/last", post(last)).route("/twice", post(twice));
    let server = stage.serve(routes.route("/inside", post(inside))).await;
    for path in ["/first", "/last", "/twice", "/inside"] {
        let answer = server.post(path).key("k").send().await;
        assert!(answer.text().parse::<u64>().unwrap() > 0, "{path}: {answer:?}");
    }
}

async fn a_claim_stays_that_of_its_handler_if_the_last_extractor_calls_another_handler_with_a_claim(stage: Stage) {
    /// Asks another handler of this process, as a client of an authentication service may do.
    struct Asked(String);
    impl FromRequest<App> for Asked {
        type Rejection = Response;

        async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
            let inner = Router::new().route("/inner", post(inner)).with_state(app.clone());
            let key = request.headers()["idempotency-key"].clone();
            let asks = Request::post("/inner").header("idempotency-key", key).body(Body::empty()).unwrap();
            let Ok(answer) = inner.oneshot(asks).await;
            let body = to_bytes(answer.into_body(), 1_000).await.unwrap();
            Ok(Self(String::from_utf8(body.to_vec()).unwrap()))
        }
    }
    #[idempotent(ttl = "24h")]
    async fn inner(claim: Claim, _: String) -> String {
        yield_now().await;
        claim.derive_key("inner").to_string()
    }
    #[idempotent(ttl = "24h")]
    async fn outer(claim: Claim, asked: Asked) -> String {
        format!("{} {} {}", claim.protected(), claim.key().unwrap_or_default(), asked.0)
    }
    #[idempotent(ttl = "24h")]
    async fn plain(asked: Asked) -> String {
        asked.0
    }
    let server = stage.serve(Router::new().route("/outer", post(outer)).route("/plain", post(plain))).await;
    let both = server.post("/outer").key("k").send().await;
    let alone = server.post("/plain").key("k").send().await;
    assert_eq!(both.text(), format!("true k {}", alone.text()));
}

async fn fences_grow_from_attempt_to_attempt_after_a_release_as_well(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn always_fails(claim: Claim, State(runs): State<Runs>) -> StatusCode {
        runs.note(claim.fence().to_string());
        StatusCode::BAD_GATEWAY
    }
    let server = stage.serve(Router::new().route("/", post(always_fails))).await;
    for _ in 0..10 {
        server.post("/").key("k").send().await;
    }
    let fences: Vec<u64> = server.runs.notes().iter().map(|fence| fence.parse().unwrap()).collect();
    assert_eq!(fences.len(), 10);
    assert!(fences.is_sorted_by(|earlier, later| earlier < later), "{fences:?}");
}

#[idempotent(ttl = "24h", required = false)]
async fn derives(claim: Claim, State(runs): State<Runs>) -> StatusCode {
    runs.begin();
    let keys = [claim.derive_key("stripe"), claim.derive_key("stripe"), claim.derive_key("mail")];
    runs.note(keys.map(|key| key.to_string()).join(" "));
    StatusCode::BAD_GATEWAY
}

async fn derived_keys_are_the_same_for_every_attempt_and_differ_by_purpose(stage: Stage) {
    let routes = Router::new().route("/", post(derives)).route("/other", post(derives));
    let server = stage.serve(routes).await;
    for (path, key) in [("/", "k"), ("/", "k"), ("/", "l"), ("/other", "k")] {
        server.post(path).key(key).send().await;
    }
    let notes = server.runs.notes();
    let derived: Vec<Vec<&str>> = notes.iter().map(|note| note.split(' ').collect()).collect();
    assert!(derived.iter().all(|keys| keys[0] == keys[1] && keys[0] != keys[2]), "{derived:?}");
    assert_eq!(derived[0], derived[1]);
    assert_ne!(derived[0][0], derived[2][0], "another key of the client");
    assert_ne!(derived[0][0], derived[3][0], "another route");
}

async fn derived_keys_without_a_key_of_the_client_are_of_one_request(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(derives))).await;
    server.post("/").send().await;
    server.post("/").send().await;
    let notes = server.runs.notes();
    let derived: Vec<Vec<&str>> = notes.iter().map(|note| note.split(' ').collect()).collect();
    assert!(derived.iter().all(|keys| keys[0] == keys[1] && keys[0] != keys[2]), "{derived:?}");
    assert_ne!(derived[0][0], derived[1][0]);
}

async fn a_claim_in_an_extractor_or_a_plain_handler_is_not_protected(stage: Stage) {
    struct Early {
        was_protected: bool,
        claim: Claim,
    }
    impl<S: Sync> FromRequestParts<S> for Early {
        type Rejection = std::convert::Infallible;

        async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
            let claim = Claim::from_request_parts(parts, state).await?;
            Ok(Self { was_protected: claim.protected(), claim })
        }
    }
    #[idempotent(ttl = "24h")]
    async fn late(early: Early, State(runs): State<Runs>) -> StatusCode {
        runs.note(format!("{} {}", early.was_protected, early.claim.protected()));
        StatusCode::CREATED
    }
    async fn plain(claim: Claim) -> String {
        format!("{} {:?}", claim.protected(), claim.key())
    }
    let server = stage.serve(Router::new().route("/", post(late)).route("/plain", post(plain))).await;
    server.post("/").key("k").send().await;
    assert_eq!(server.runs.notes(), ["false true"]);
    assert_eq!(server.post("/plain").key("k").send().await.text(), "false None");
}
