//! A simulated card provider. Like a real one, it takes idempotency keys, and it charges once for each key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

#[derive(Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Charge {
    pub(crate) receipt: Uuid,
}

#[derive(Clone, Default)]
pub(crate) struct Provider {
    charges: Arc<Mutex<HashMap<Uuid, Charge>>>,
}

impl Provider {
    /// Charges the card. A repeated key gets the first charge.
    pub(crate) fn charge(&self, key: Uuid) -> Charge {
        let mut charges = self.charges.lock().unwrap_or_else(PoisonError::into_inner);
        *charges.entry(key).or_insert_with(|| Charge { receipt: Uuid::new_v4() })
    }

    /// Finds the charge that was made with a key.
    pub(crate) fn find(&self, key: Uuid) -> Option<Charge> {
        self.charges.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }
}
