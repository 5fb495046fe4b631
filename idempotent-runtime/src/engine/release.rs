//! Gives up a claim: what that means to the store, and how it is done behind a request.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::sleep};

use super::{Engine, deadline};
use crate::store::{Attempt, ReleaseOutcome, StoreCall};

/// How long after the first try the next ones follow; the last one comes after a lease.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1)];

/// What is given up with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// The key: the next attempt is as good as the first.
    Key,
    /// Only the lease: what this attempt did is unknown, and the next one is told so.
    Lease,
}

impl GivenUp {
    pub(super) fn end<'a>(self, engine: &'a Engine, attempt: &'a Attempt) -> StoreCall<'a, ReleaseOutcome> {
        match self {
            Self::Key => engine.store.release(attempt),
            Self::Lease => engine.store.abandon(attempt),
        }
    }
}

/// Releases the attempt's key when it is dropped armed.
///
/// A claim without an answer may have been made, or be made when the server wakes up, though its request was refused or
/// its client went.
pub(crate) struct ReleaseOnDrop<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) attempt: &'a Attempt,
    pub(crate) armed: bool,
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            give_up_behind(self.engine, self.attempt, GivenUp::Key);
        }
    }
}

/// Gives up a claim, again and again until there is one to give up. If there is none, the lease ends it.
///
/// A shutdown waits for it, by `drain`.
pub(super) fn give_up_behind(engine: &Arc<Engine>, attempt: &Attempt, what: GivenUp) {
    // More releases than this in an outage are left to their leases.
    let Ok(permit) = engine.releases.clone().try_acquire_owned() else { return };
    let Ok(runtime) = Handle::try_current() else { return };
    let (engine, attempt, background) = (Arc::clone(engine), attempt.clone(), engine.load.background());
    runtime.spawn(async move {
        for pause in PAUSES.into_iter().chain([attempt.lease]) {
            sleep(pause.min(attempt.lease)).await;
            let ended = deadline::once(engine.settings.store_timeout, what.end(&engine, &attempt)).await;
            if let Ok(ReleaseOutcome::Ended) = ended {
                engine.waiters.released(&attempt.key);
                break;
            }
        }
        drop((permit, background));
    });
}
