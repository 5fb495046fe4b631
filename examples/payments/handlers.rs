//! The handlers: four that are safe to retry, and one that is not.

use std::sync::atomic::Ordering::Relaxed;

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
};
use idempotent_runtime::{Claim, idempotent};

use crate::{
    App,
    ledger::{NewPayment, Payment},
    provider::Charge,
    refused::{Reason, Refused},
    user::User,
};

/// Takes a payment. It is in the ledger once, however often a client retries it with the same key, and wherever
/// this process crashes.
#[idempotent(ttl = "24h")]
#[utoipa::path(
    post,
    path = "/payments",
    responses(
        (status = 201, description = "Paid", body = Payment, headers(("Location" = String))),
        (status = 422, description = "Not a payment", body = Reason),
    )
)]
pub(crate) async fn create_payment(
    State(app): State<App>,
    claim: Claim,
    Json(new): Json<NewPayment>,
) -> Result<impl IntoResponse, Refused> {
    if new.amount <= 0 {
        return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, "amount must be greater than 0"));
    }
    let mut entry = app.ledger.begin().await?;
    let payment = entry.add(new).await?;
    let location = format!("/payments/{}", payment.id);
    entry.commit(&claim, (StatusCode::CREATED, [(LOCATION, location)], Json(payment))).await
}

/// Refunds a payment. A duplicate that comes while the first request runs waits for its response.
#[idempotent(wait = "5s")]
#[utoipa::path(
    post,
    path = "/payments/{id}/refund",
    responses(
        (status = 200, description = "Refunded", body = Payment),
        (status = 404, description = "No such payment, or refunded already", body = Reason),
    )
)]
pub(crate) async fn refund_payment(
    State(app): State<App>,
    claim: Claim,
    Path(id): Path<i64>,
) -> Result<impl IntoResponse, Refused> {
    let mut entry = app.ledger.begin().await?;
    let refunded = entry.refund(id).await?;
    let payment = refunded.ok_or(Refused(StatusCode::NOT_FOUND, "no such payment, or it is refunded already"))?;
    entry.commit(&claim, Json(payment)).await
}

/// Pays money out to the user who is logged in. The scope is the user's name, so two users may choose the same key, and a
/// user whose token was refreshed keeps their keys.
#[idempotent(scope = user.name)]
#[utoipa::path(
    post,
    path = "/withdrawals",
    responses((status = 200, description = "Paid out", body = Payment), (status = 401, description = "Nobody is logged in"))
)]
pub(crate) async fn withdraw(
    State(app): State<App>,
    claim: Claim,
    user: User,
    Json(amount): Json<i64>,
) -> Result<impl IntoResponse, Refused> {
    let new = NewPayment { account: user.name, amount: -amount, currency: "EUR".to_owned() };
    let mut entry = app.ledger.begin().await?;
    let payment = entry.add(new).await?;
    entry.commit(&claim, Json(payment)).await
}

/// Charges a card at a provider. The provider gets a key that is derived from the client's key and the scope and is the same
/// for every attempt, so it charges each user once.
#[idempotent(ttl = "24h", lease = "10s", scope = user.name)]
#[utoipa::path(
    post,
    path = "/charges",
    responses((status = 201, description = "Charged", body = Charge), (status = 401, description = "Nobody is logged in"))
)]
pub(crate) async fn charge_card(State(app): State<App>, claim: Claim, user: User) -> (StatusCode, Json<Charge>) {
    let key = claim.derive_key("card-provider");
    if claim.recovering() {
        // An earlier attempt died, perhaps after the charge. So look for the charge first.
        if let Some(charge) = app.provider.find(key) {
            return (StatusCode::CREATED, Json(charge));
        }
    }
    (StatusCode::CREATED, Json(app.provider.charge(key)))
}

/// Sends a notification. This handler does not have the attribute, so every retry sends another one.
#[utoipa::path(post, path = "/notifications", responses((status = 200, description = "How many were sent")))]
pub(crate) async fn notify(State(app): State<App>) -> String {
    format!("{}\n", app.notifications.fetch_add(1, Relaxed) + 1)
}

pub(crate) async fn count_notifications(State(app): State<App>) -> String {
    format!("{}\n", app.notifications.load(Relaxed))
}

/// Lists all payments.
#[utoipa::path(get, path = "/payments", responses((status = 200, description = "All of them", body = Vec<Payment>)))]
pub(crate) async fn list_payments(State(app): State<App>) -> Result<Json<Vec<Payment>>, Refused> {
    Ok(Json(app.ledger.all().await?))
}
