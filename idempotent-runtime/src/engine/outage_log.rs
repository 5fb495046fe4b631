//! Logs that the store fails once a minute, and not once for each request that is refused meanwhile.

use std::{
    mem::{Discriminant, discriminant},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{error_chain::chain, store::StoreError};

/// How long the same kind of failure is counted before it is logged again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Default)]
pub(crate) struct OutageLog(Mutex<Vec<Failure>>);

/// One kind of failure; there are a handful.
struct Failure {
    kind: Discriminant<StoreError>,
    logged: Instant,
    /// Claims that failed since then.
    unlogged: u64,
}

impl OutageLog {
    /// The store did not take a claim.
    pub(crate) fn failed(&self, error: &StoreError, handler: &'static str) {
        if let Some(before) = self.is_due(discriminant(error)) {
            let error = chain(error);
            tracing::warn!(error, handler, before, "the store does not take claims; logged once a minute");
        }
    }

    /// `None` if this kind was logged lately, else how many of it were not logged.
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
