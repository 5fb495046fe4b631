//! Logs once for each handler that its callers are not told apart.

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
};

/// The handlers for which it is logged.
static LOGGED: RwLock<BTreeSet<&str>> = RwLock::new(BTreeSet::new());

/// A request has none of the credentials that are compared, and its handler has no `scope`.
pub(crate) fn anonymous(handler: &'static str) {
    if LOGGED.read().unwrap_or_else(PoisonError::into_inner).contains(handler) {
        return;
    }
    if LOGGED.write().unwrap_or_else(PoisonError::into_inner).insert(handler) {
        super::log!(ANONYMOUS, idempotency.handler = handler);
    }
}
