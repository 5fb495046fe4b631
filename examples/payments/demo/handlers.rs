//! The two handlers of the page: the same payment with the attribute and without it.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use idempotent_runtime::{Claim, idempotent};
use serde::Serialize;
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    Demo,
    bank::{Charge, Order},
};

/// How long a handler works. The page's text has the same number. The second click and the kill come during this time.
const WORK: Duration = Duration::from_millis(1200);

#[derive(Serialize)]
pub(super) struct Receipt {
    #[serde(flatten)]
    charge: Charge,
    /// Whether an earlier attempt died.
    recovering: bool,
}

/// Charges the card, works for a while, and answers. The lease is short, so that the user of the page soon sees a takeover.
#[idempotent(ttl = "24h", lease = "3s")]
pub(super) async fn pay(State(demo): State<Demo>, claim: Claim, Json(order): Json<Order>) -> impl IntoResponse {
    // The key is the same for every attempt. So the bank recognises the charge of an attempt that died.
    let key = claim.derive_key("bank");
    let charge = demo.bank.charge(key, order);
    sleep(WORK).await;
    (StatusCode::CREATED, Json(Receipt { charge, recovering: claim.recovering() }))
}

/// Does the same and does not look at the key.
pub(super) async fn pay_unprotected(State(demo): State<Demo>, Json(order): Json<Order>) -> impl IntoResponse {
    let key = Uuid::new_v4();
    let charge = demo.bank.charge(key, order);
    sleep(WORK).await;
    (StatusCode::CREATED, Json(Receipt { charge, recovering: false }))
}
