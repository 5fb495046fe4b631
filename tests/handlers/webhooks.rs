//! Handlers whose key is not in `Idempotency-Key`, or whose retries have other bytes: webhooks, and a form with a
//! hidden field.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{FromRequest, Path, Request},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;

static RUNS: AtomicU64 = AtomicU64::new(0);

/// Each run answers with another number, so a second run would be seen.
fn run() -> String {
    RUNS.fetch_add(1, Ordering::SeqCst).to_string()
}

#[derive(Deserialize, Serialize)]
struct Event {
    id: String,
}

/// A receiver of Standard Webhooks: each delivery is signed anew, with another time stamp.
#[idempotent(header = "webhook-id")]
async fn standard_webhook(Json(_event): Json<Event>) -> String {
    run()
}

/// GitHub's redelivery has the same id.
#[idempotent(header = "X-GitHub-Delivery", fingerprint = "none")]
async fn github(_body: String) -> String {
    run()
}

/// Stripe's id is in the body.
#[idempotent(key = event.id, fingerprint = event)]
async fn stripe(Json(event): Json<Event>) -> String {
    run()
}

#[derive(Deserialize)]
struct Optional {
    id: Option<String>,
}

#[idempotent(key = event.id, fingerprint = "none", required = false)]
async fn optional(Json(event): Json<Optional>) -> String {
    format!("{} {}", run(), event.id.is_some())
}

#[idempotent(key = event.id, fingerprint = "none")]
async fn required(Json(event): Json<Optional>) -> String {
    format!("{} {}", run(), event.id.is_some())
}

/// The form `nonce=…&amount=…`, from a page that may be sent twice.
struct Form {
    nonce: String,
    amount: String,
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let text = String::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        let field = |name: &str| {
            let mut fields = text.split('&').filter_map(|field| field.split_once('='));
            fields.find(|(field, _)| *field == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        Ok(Self { nonce: field("nonce"), amount: field("amount") })
    }
}

#[idempotent(key = form.nonce, fingerprint = form.amount, scope = account)]
async fn pay(Path(account): Path<u64>, mut form: Form) -> String {
    // Changes of the arguments in the handler change neither the key nor the fingerprint.
    form.nonce.clear();
    form.amount.clear();
    format!("{} {account}", run())
}

fn app() -> Router {
    Router::new()
        .route("/standard", post(standard_webhook))
        .route("/github", post(github))
        .route("/stripe", post(stripe))
        .route("/optional", post(optional))
        .route("/required", post(required))
        .route("/pay/{account}", post(pay))
        .with_state(Idempotency::new(MemoryStore::new()))
}

struct Answer {
    status: StatusCode,
    replayed: bool,
    body: String,
}

async fn send(app: &Router, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::post(path).header(CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app.clone().oneshot(request.body(Body::from(body.to_owned())).expect("a request")).await;
    let response = response.expect("an answer");
    Answer {
        status: response.status(),
        replayed: response.headers().contains_key("idempotent-replayed"),
        body: String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.expect("a body").to_vec()).expect("text"),
    }
}

#[tokio::test]
async fn a_standard_webhook_is_known_by_its_id_and_not_by_its_signature() {
    let app = app();
    let body = r#"{"id":"evt"}"#;
    let first = send(&app, "/standard", &[("webhook-id", "m-1"), ("webhook-signature", "v1,a")], body).await;
    let retry = send(&app, "/standard", &[("webhook-id", "m-1"), ("webhook-signature", "v1,b")], body).await;
    assert_eq!((first.status, first.replayed, retry.replayed), (StatusCode::OK, false, true));
    assert_eq!(first.body, retry.body);
    let another = send(&app, "/standard", &[("webhook-id", "m-2")], body).await;
    assert!(!another.replayed);
    let missing = send(&app, "/standard", &[("webhook-signature", "v1,a")], body).await;
    assert_eq!(missing.status, StatusCode::BAD_REQUEST);
    assert!(missing.body.contains("`webhook-id`") || missing.body.contains("`Webhook-Id`"), "{}", missing.body);
    let changed = send(&app, "/standard", &[("webhook-id", "m-1")], r#"{"id":"other"}"#).await;
    assert_eq!(changed.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn with_the_fingerprint_none_the_key_alone_says_which_request_it_is() {
    let app = app();
    let first = send(&app, "/github", &[("x-github-delivery", "d-1"), ("authorization", "a")], "one").await;
    let retry = send(&app, "/github?attempt=2", &[("x-github-delivery", "d-1"), ("authorization", "b")], "two").await;
    assert_eq!((first.status, retry.replayed, &retry.body), (StatusCode::OK, true, &first.body));
}

#[tokio::test]
async fn a_key_and_a_fingerprint_come_from_the_body() {
    let app = app();
    let first = send(&app, "/stripe", &[("stripe-signature", "a")], r#"{"id":"evt_1"}"#).await;
    let retry = send(&app, "/stripe", &[("stripe-signature", "b")], r#"{ "id": "evt_1", "livemode": true }"#).await;
    assert_eq!((first.status, first.replayed, retry.replayed), (StatusCode::OK, false, true));
    assert_eq!(first.body, retry.body);
    let another = send(&app, "/stripe", &[], r#"{"id":"evt_2"}"#).await;
    assert!(!another.replayed && another.body != first.body);
    let header = send(&app, "/stripe", &[("idempotency-key", "ignored")], r#"{"id":"evt_1"}"#).await;
    assert!(header.replayed, "the header has no say");
}

#[tokio::test]
async fn no_value_and_an_empty_one_are_a_missing_key() {
    let app = app();
    for body in [r#"{"id":null}"#, r#"{"id":""}"#, "{}"] {
        let first = send(&app, "/optional", &[], body).await;
        let again = send(&app, "/optional", &[], body).await;
        assert_eq!((first.status, again.replayed), (StatusCode::OK, false), "{body}");
        assert_ne!(first.body, again.body, "{body}");
        let refused = send(&app, "/required", &[], body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(refused.body.contains("key-missing"), "{}", refused.body);
    }
    let nobodys = send(&app, "/required", &[], r#"{"id":"00000000-0000-0000-0000-000000000000"}"#).await;
    assert_eq!(nobodys.status, StatusCode::BAD_REQUEST);
    assert!(nobodys.body.contains("key-invalid"), "{}", nobodys.body);
}

#[tokio::test]
async fn a_form_is_known_by_its_hidden_field_whatever_its_handler_changes() {
    let app = app();
    let first = send(&app, "/pay/7", &[], "nonce=n&amount=5").await;
    let retry = send(&app, "/pay/7", &[], "amount=5&nonce=n").await;
    assert_eq!((first.status, retry.replayed, &retry.body), (StatusCode::OK, true, &first.body));
    let changed = send(&app, "/pay/7", &[], "nonce=n&amount=6").await;
    assert_eq!(changed.status, StatusCode::UNPROCESSABLE_ENTITY);
    let other_account = send(&app, "/pay/8", &[], "nonce=n&amount=5").await;
    assert!(!other_account.replayed);
}

#[tokio::test]
async fn who_asks_counts_beside_a_value() {
    let app = app();
    let body = r#"{"id":"evt_1"}"#;
    let alice = send(&app, "/stripe", &[("authorization", "alice")], body).await;
    assert_eq!(alice.status, StatusCode::OK);
    let bob = send(&app, "/stripe", &[("authorization", "bob")], body).await;
    assert_eq!(bob.status, StatusCode::UNPROCESSABLE_ENTITY, "nobody is shown another one's response");
}
