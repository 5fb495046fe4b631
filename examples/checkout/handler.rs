//! The handler: a charge, an order and a mail. Each happens once, wherever the process dies.

use axum::{Json, extract::State, http::StatusCode};
use idempotent_runtime::{Claim, idempotent};

use crate::{
    failed::Failed,
    orders::{NewOrder, Order},
    shop::Shop,
};

/// Each effect is a step. After a crash the retry gets the value of every step that was saved, and runs the others.
///
/// Nobody can know whether the step that was under way had its effect, so it runs again. Its effect gets a key that is the
/// same for every attempt, by which the provider, the table of orders and the mail service recognise it.
///
/// The lease is short, so that nobody has to wait for the retry.
#[idempotent(ttl = "24h", lease = "1s")]
pub(crate) async fn checkout(
    State(shop): State<Shop>,
    claim: Claim,
    Json(new): Json<NewOrder>,
) -> Result<(StatusCode, Json<Order>), Failed> {
    let charge = claim.step("charge", || shop.provider.charge(claim.derive_key("charge"), new.cents)).await?;
    let order = claim.step("order", || shop.orders.add(claim.derive_key("order"), &new, &charge)).await?;
    claim.step("mail", || shop.mails.confirm(claim.derive_key("mail"), &order)).await?;
    Ok((StatusCode::CREATED, Json(order)))
}
