//! The third effect: a mail, sent by a service that takes idempotency keys.

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::{failed::EffectError, killed, orders::Order, service::Service};

#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Sent {
    id: Uuid,
}

#[derive(Clone)]
pub(crate) struct Mails(pub(crate) Service);

impl Mails {
    pub(crate) async fn confirm(&self, key: Uuid, order: &Order) -> Result<Sent, EffectError> {
        killed::at("before the mail").await;
        let text = format!("Order {} is paid, receipt {}.", order.id, order.receipt);
        let sent = self.0.post("/mails", key, &json!({ "to": order.customer, "text": text })).await?;
        killed::at("after the mail").await;
        Ok(sent)
    }
}
