//! The handlers: four that are safe to retry, and one that is not.

use std::sync::atomic::Ordering::Relaxed;

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use idempotent_runtime::{Claim, idempotent};
use serde_json::json;

use crate::{
    App,
    ledger::{NewPayment, Payment},
    provider::Charge,
    user::User,
};

/// Takes a payment. However often a client retries it with one key, it stands in the ledger once.
#[idempotent(ttl = "24h")]
pub(crate) async fn create_payment(
    State(app): State<App>,
    Json(new): Json<NewPayment>,
) -> Result<impl IntoResponse, Refused> {
    if new.amount <= 0 {
        return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, "amount must be greater than 0"));
    }
    let payment = app.ledger.add(new);
    let location = format!("/payments/{}", payment.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(payment)))
}

/// Gives a payment back. A duplicate that comes while the first one runs waits for its answer.
#[idempotent(wait = "5s")]
pub(crate) async fn refund_payment(State(app): State<App>, Path(id): Path<u64>) -> Result<Json<Payment>, Refused> {
    let refunded = app.ledger.refund(id);
    refunded.map(Json).ok_or(Refused(StatusCode::NOT_FOUND, "no such payment, or it is refunded already"))
}

/// Takes a payment for whoever is logged in. Two users may choose the same key, and a refreshed token is the same user.
#[idempotent(scope = user.name)]
pub(crate) async fn withdraw(State(app): State<App>, user: User, Json(amount): Json<i64>) -> Json<Payment> {
    let new = NewPayment { account: user.name, amount: -amount, currency: "EUR".to_owned() };
    Json(app.ledger.add(new))
}

/// Charges a card at a provider, whose key is derived from ours: the same for every attempt.
#[idempotent(ttl = "24h", lease = "10s")]
pub(crate) async fn charge_card(State(app): State<App>, claim: Claim) -> (StatusCode, Json<Charge>) {
    let key = claim.derive_key("card-provider");
    if claim.recovering() {
        // An attempt before this one died, perhaps after it had charged. Look before charging.
        if let Some(charge) = app.provider.find(key) {
            return (StatusCode::CREATED, Json(charge));
        }
    }
    (StatusCode::CREATED, Json(app.provider.charge(key)))
}

/// Sends a notification. There is no attribute, so every retry counts.
pub(crate) async fn notify(State(app): State<App>) -> String {
    format!("{}\n", app.notifications.fetch_add(1, Relaxed) + 1)
}

pub(crate) async fn count_notifications(State(app): State<App>) -> String {
    format!("{}\n", app.notifications.load(Relaxed))
}

pub(crate) async fn list_payments(State(app): State<App>) -> Json<Vec<Payment>> {
    Json(app.ledger.all())
}

/// An answer that says no.
pub(crate) struct Refused(StatusCode, &'static str);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        (status, Json(json!({ "error": error }))).into_response()
    }
}
