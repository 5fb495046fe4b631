//! A message and a request of one operation: one record, if their scope, key and fingerprint are the same.

use axum::{Extension, Json, Router, body::Body, http::Request, response::Response, routing::post};
use idempotent_runtime::{Inspection, Outcome, RequestName, idempotent, store::ForgetOutcome};
use tower::ServiceExt as _;

use super::Service;

#[idempotent(operation = "orders.created", scope = tenant, fingerprint = "none")]
async fn order(Extension(tenant): Extension<&'static str>) -> Json<usize> {
    assert_eq!(tenant, "acme");
    Json(7)
}

#[idempotent(operation = "orders.created", scope = tenant, fingerprint = cents)]
async fn compared(Extension(tenant): Extension<&'static str>, Json(cents): Json<u64>) -> Json<usize> {
    assert_eq!(tenant, "acme");
    Json(7)
}

#[idempotent(operation = "orders.created", fingerprint = cents)]
async fn by_credentials(Json(cents): Json<u64>) -> Json<usize> {
    let _ = cents;
    Json(7)
}

/// The routes of one handler each, so that each has its operation for itself.
fn app(service: &Service, handler: axum::routing::MethodRouter<idempotent_runtime::Idempotency>) -> Router {
    Router::new().route("/orders", handler).layer(Extension("acme")).with_state(service.idempotency.clone())
}

async fn send(app: &Router, key: &str, body: &'static str) -> Response {
    let request = Request::post("/orders").header("idempotency-key", key).header("content-type", "application/json");
    app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()
}

async fn is_replay_of(response: Response, run: &str) {
    assert_eq!(response.headers()["idempotent-replayed"], "true");
    let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    assert_eq!(&body[..], run.as_bytes());
}

#[tokio::test]
async fn a_message_and_a_request_for_the_same_operation_and_scope_are_one() {
    let service = Service::new();
    let app = app(&service, post(order));
    // The request comes first.
    assert_eq!(send(&app, "m1", "").await.status(), 200);
    assert_eq!(service.count(service.operation("m1").scope("acme")).await.unwrap(), Outcome::Replayed(7));
    // The message comes first.
    assert_eq!(service.count(service.operation("m2").scope("acme")).await.unwrap(), Outcome::Ran(1));
    is_replay_of(send(&app, "m2", "").await, "1").await;
    // However the key is written.
    let same = [
        "550e8400-e29b-41d4-a716-446655440000",
        "550E8400-E29B-41D4-A716-446655440000",
        "550e8400e29b41d4a716446655440000",
    ];
    assert_eq!(service.count(service.operation(same[1]).scope("acme")).await.unwrap(), Outcome::Ran(2));
    for key in same {
        assert_eq!(service.count(service.operation(key).scope("acme")).await.unwrap(), Outcome::Replayed(2), "{key}");
        is_replay_of(send(&app, key, "").await, "2").await;
    }
}

#[tokio::test]
async fn a_message_is_found_and_forgotten_by_its_key_however_it_is_written() {
    let service = Service::new();
    let same = ["550E8400-E29B-41D4-A716-446655440000", "550e8400e29b41d4a716446655440000"];
    for (before, (ran, asked)) in [(same[0], same[0]), (same[0], same[1]), (same[1], same[0])].into_iter().enumerate() {
        assert_eq!(service.count(service.operation(ran)).await.unwrap(), Outcome::Ran(before + 1));
        let name = RequestName::of_operation("orders.created", asked);
        for name in [name.clone(), name.clone().exact()] {
            let seen = service.idempotency.inspect(&name).await.unwrap();
            assert!(matches!(seen, Inspection::Finished { .. }), "{ran} by {asked}: {seen:?}");
        }
        assert_eq!(service.idempotency.forget(&name).await.unwrap(), ForgetOutcome::Forgotten);
    }
}

#[tokio::test]
async fn with_a_value_a_message_and_a_request_are_one_if_both_have_a_scope() {
    let service = Service::new();
    let scoped = app(&service, post(compared));
    let of = |key, cents: u64| service.operation(key).fingerprint(&cents);
    assert_eq!(send(&scoped, "m1", "100").await.status(), 200);
    assert_eq!(service.count(of("m1", 100).scope("acme")).await.unwrap(), Outcome::Replayed(7));
    assert_eq!(service.count(of("m1", 101).scope("acme")).await.unwrap(), Outcome::KeyReused);
    assert_eq!(service.count(of("m2", 100).scope("acme")).await.unwrap(), Outcome::Ran(1));
    is_replay_of(send(&scoped, "m2", "100").await, "1").await;

    // Without a scope, the handler compares the caller's credentials.
    let service = Service::new();
    let unscoped = app(&service, post(by_credentials));
    assert_eq!(send(&unscoped, "m1", "100").await.status(), 200);
    assert_eq!(service.count(service.operation("m1").fingerprint(&100_u64)).await.unwrap(), Outcome::KeyReused);
    assert_eq!(service.runs(), 0);
}
