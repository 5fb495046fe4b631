//! The first effect: a charge, made by a payment provider that takes idempotency keys.

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::{failed::EffectError, killed, service::Service};

#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Charge {
    pub(crate) receipt: String,
}

#[derive(Clone)]
pub(crate) struct Provider(pub(crate) Service);

impl Provider {
    pub(crate) async fn charge(&self, key: Uuid, cents: i64) -> Result<Charge, EffectError> {
        killed::at("before the charge").await;
        let charge = self.0.post("/charges", key, &json!({ "cents": cents })).await?;
        killed::at("after the charge").await;
        Ok(charge)
    }
}
