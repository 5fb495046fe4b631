//! Where the money is: elsewhere, so that it survives whoever asks for it, and with idempotency keys of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

/// What the person in front of the page wants.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(super) struct Order {
    /// The page counts them.
    order: u32,
    cents: i64,
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct Charge {
    /// Counts from one.
    payment: usize,
    #[serde(flatten)]
    order: Order,
    #[serde(skip)]
    key: Uuid,
}

/// Every charge, in the order in which they were made.
#[derive(Clone, Default)]
pub(super) struct Bank {
    charges: Arc<Mutex<Vec<Charge>>>,
}

impl Bank {
    /// Charges once for each key.
    pub(super) fn charge(&self, key: Uuid, order: Order) -> Charge {
        let mut charges = self.lock();
        if let Some(charge) = charges.iter().find(|charge| charge.key == key) {
            return *charge;
        }
        let charge = Charge { payment: charges.len() + 1, order, key };
        charges.push(charge);
        charge
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Charge>> {
        self.charges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Serialize for Bank {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.lock().serialize(serializer)
    }
}
