//! The handler: a charge, an order and a mail. Each happens once, wherever the process dies.

use axum::{Json, extract::State, http::StatusCode};
use idempotent_runtime::{Claim, idempotent};

use crate::{
    failed::Failed,
    orders::{self, NewOrder, Order},
    shop::Shop,
};

/// Each effect is a step. After a crash the retry gets the value of every step that was saved, and runs the others.
///
/// The charge and the mail are done elsewhere. Nobody can know whether the one that was under way was done, so it runs
/// again. It has a key that is the same for every attempt, by which the provider and the mail service recognise it. The
/// order is in the shop's own database, where its transaction saves the step, too: both are there or neither.
///
/// The lease is short, so that nobody has to wait for the retry.
#[idempotent(ttl = "24h", lease = "1s")]
pub(crate) async fn checkout(
    State(shop): State<Shop>,
    claim: Claim,
    Json(new): Json<NewOrder>,
) -> Result<(StatusCode, Json<Order>), Failed> {
    let charge = claim.step("charge", || shop.provider.charge(claim.derive_key("charge"), new.cents)).await?;
    let tx = shop.db.begin_with("BEGIN IMMEDIATE").await?;
    let order = claim.step_in(tx, "order", async |db| orders::add(db, &new, &charge).await).await?;
    claim.step("mail", || shop.mails.confirm(claim.derive_key("mail"), &order)).await?;
    Ok((StatusCode::CREATED, Json(order)))
}
