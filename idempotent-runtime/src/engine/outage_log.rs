//! Logs a failing store once a minute, and not once for each refused request.

use std::{
    mem::{Discriminant, discriminant},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{error_chain::chain, store::StoreError};

/// After a kind of failure was logged, the same kind is only counted for this long.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The failures that were logged lately.
#[derive(Default)]
pub(crate) struct OutageLog(Mutex<Vec<Failure>>);

/// One kind of failure. There are only a few kinds.
struct Failure {
    kind: Discriminant<StoreError>,
    logged: Instant,
    /// How many claims failed in this way since it was logged.
    unlogged: u64,
}

impl OutageLog {
    /// The store did not take a claim.
    pub(crate) fn failed(&self, error: &StoreError, handler: &'static str) {
        if let Some(before) = self.is_due(discriminant(error)) {
            let error = chain(error);
            crate::telemetry::log!(STORE_UNAVAILABLE, error, idempotency.handler = handler, before);
        }
    }

    /// `None` if this kind was logged within the last minute. Otherwise, how many failures of this kind were not
    /// logged.
    fn is_due(&self, kind: Discriminant<StoreError>) -> Option<u64> {
        let now = Instant::now();
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failure) = failures.iter_mut().find(|failure| failure.kind == kind) else {
            failures.push(Failure { kind, logged: now, unlogged: 0 });
            return Some(0);
        };
        if now.duration_since(failure.logged) < AGAIN_AFTER {
            failure.unlogged += 1;
            return None;
        }
        failure.logged = now;
        Some(std::mem::take(&mut failure.unlogged))
    }
}
