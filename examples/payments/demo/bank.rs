//! A simulated bank. A killed attempt does not affect it, because it is outside of the handler. Like a real bank, it takes
//! idempotency keys.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

/// What the user of the page orders.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(super) struct Order {
    /// The number of the order. The page counts its orders.
    order: u32,
    cents: i64,
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct Charge {
    /// The number of the payment, from one.
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
    /// Charges an order. A repeated key gets the first charge.
    pub(super) fn charge(&self, key: Uuid, order: Order) -> Charge {
        let mut charges = self.lock();
        if let Some(charge) = charges.iter().find(|charge| charge.key == key) {
            return *charge;
        }
        let charge = Charge { payment: charges.len() + 1, order, key };
        charges.push(charge);
        charge
    }

    /// How many charges there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
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
