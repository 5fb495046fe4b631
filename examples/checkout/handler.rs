//! The handler: it charges the customer, writes an order and sends a mail. Each happens once, wherever the process
//! dies.

use axum::{Json, extract::State, http::StatusCode};
use idempotent_runtime::{Claim, idempotent};

use crate::{
    failed::Failed,
    orders::{self, NewOrder, Order},
    shop::Shop,
};

/// Each effect is a step. After a crash, the retry gets the value of every saved step, and runs the other steps.
///
/// The charge and the mail are made by other services. If the process dies during one of them, nobody knows whether it was
/// done, so the step runs again. It sends a key that is the same for every attempt, and by it the service recognises the
/// repetition. The order is in the shop's own database. One transaction commits the order and saves the step.
///
/// The keys for the other services are derived from the client's key and from the scope. So two customers may choose the same
/// key, and each of them pays. The lease is short, so that the retry need not wait long.
#[idempotent(ttl = "24h", lease = "1s", scope = new.customer)]
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
