//! The work that is protected, and the request for it.

use axum::{
    Json,
    body::Body,
    http::{
        Request, StatusCode,
        header::{CONTENT_TYPE, HOST, LOCATION},
    },
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) const PATH: &str = "/payments";

const BODY: &str = r#"{"account":"alice","amount":100,"currency":"EUR","note":"the kind of body that an order has, not long and not short"}"#;

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

/// The work itself, as small as possible. A larger one would make the cost of protection look smaller.
pub(crate) fn pay(new: NewPayment) -> impl IntoResponse {
    let payment = Payment { id: 4711, account: new.account, amount: new.amount };
    (StatusCode::CREATED, [(LOCATION, "/payments/4711")], Json(payment))
}

pub(crate) fn request(key: &str) -> Request<Body> {
    Request::post(PATH)
        .header(HOST, "127.0.0.1")
        .header(CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Body::from(BODY))
        .unwrap()
}

/// The key of the request with this number. Each sender has another `salt`.
pub(crate) fn key(salt: u64, number: u64) -> String {
    // The keys of neighbours differ in most digits, as random keys do, and are the same in every run.
    Uuid::from_u64_pair(salt, (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_string()
}
