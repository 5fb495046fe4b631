//! One handler, three ways.

use axum::{
    Json, Router,
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
    routing::post,
};
use idempotent_runtime::{Idempotency, idempotent};
use serde::{Deserialize, Serialize};

use crate::by_hand;

#[derive(Clone, Copy)]
pub(crate) enum Variant {
    Bare,
    ByHand,
    Attribute,
}

impl Variant {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::ByHand => "by hand",
            Self::Attribute => "attribute",
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct NewPayment {
    account: String,
    amount: i64,
}

#[derive(Serialize)]
struct Payment {
    id: u64,
    account: String,
    amount: i64,
}

/// The work itself, as small as it can be: whatever it costs makes protection look cheaper.
pub(crate) fn pay(new: NewPayment) -> impl IntoResponse {
    let payment = Payment { id: 4711, account: new.account, amount: new.amount };
    (StatusCode::CREATED, [(LOCATION, "/payments/4711")], Json(payment))
}

async fn bare(Json(new): Json<NewPayment>) -> impl IntoResponse {
    pay(new)
}

#[idempotent(ttl = "60s")]
async fn attribute(Json(new): Json<NewPayment>) -> impl IntoResponse {
    pay(new)
}

pub(crate) fn bare_router() -> Router {
    Router::new().route("/payments", post(bare))
}

pub(crate) fn attribute_router(idempotency: Idempotency) -> Router {
    Router::new().route("/payments", post(attribute)).with_state(idempotency)
}

pub(crate) fn memory_by_hand_router(map: by_hand::Map) -> Router {
    Router::new().route("/payments", post(by_hand::memory)).with_state(map)
}

pub(crate) fn redis_by_hand_router(connection: redis::aio::MultiplexedConnection) -> Router {
    Router::new().route("/payments", post(by_hand::redis)).with_state(connection)
}
