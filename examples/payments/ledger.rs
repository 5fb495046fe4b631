//! The ledger: what has really happened.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// What a client asks for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NewPayment {
    pub(crate) account: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
}

/// What stands in the ledger.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Payment {
    pub(crate) id: u64,
    pub(crate) account: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) refunded: bool,
}

/// Every payment, in the order in which they were made.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    payments: Arc<Mutex<Vec<Payment>>>,
}

impl Ledger {
    pub(crate) fn add(&self, new: NewPayment) -> Payment {
        self.with(|payments| {
            let id = payments.len() as u64 + 1;
            let NewPayment { account, amount, currency } = new;
            let payment = Payment { id, account, amount, currency, refunded: false };
            payments.push(payment.clone());
            payment
        })
    }

    /// The refunded payment; `None` if there is none of that id or it was refunded before.
    pub(crate) fn refund(&self, id: u64) -> Option<Payment> {
        self.with(|payments| {
            let payment = payments.iter_mut().find(|payment| payment.id == id && !payment.refunded)?;
            payment.refunded = true;
            Some(payment.clone())
        })
    }

    pub(crate) fn all(&self) -> Vec<Payment> {
        self.with(|payments| payments.clone())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Payment>) -> T) -> T {
        work(&mut self.payments.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
