//! The service's OpenAPI document, and a page that shows it.
//!
//! Nothing here describes keys, retries and problems. The document gets them from the attributes of the handlers.

use axum::{Json, Router, response::Html, routing::get};
use idempotent_runtime::Idempotency;
use utoipa::{Modify, OpenApi};

use crate::handlers;

#[derive(OpenApi)]
#[openapi(
    info(title = "Payments", description = "A payment service whose clients may retry."),
    paths(
        handlers::create_payment,
        handlers::list_payments,
        handlers::refund_payment,
        handlers::withdraw,
        handlers::charge_card,
        handlers::notify
    )
)]
struct Api;

/// Serves the document at `/openapi.json` and the page at `/openapi`.
pub(crate) fn routes(idempotency: &Idempotency) -> Router {
    let mut document = Api::openapi();
    idempotency.modify(&mut document);
    Router::new()
        .route("/openapi.json", get(async move || Json(document)))
        .route("/openapi", get(async || Html(include_str!("page.html"))))
}
