//! Gives up a claim in the background of a request.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::sleep};

use super::{Engine, deadline};
use crate::store::{ClaimRequest, ReleaseOutcome, StoreCall};

/// The pauses before the first tries. The last try comes after one lease.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1)];

/// What is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// The key. The next attempt is a first attempt.
    Key,
    /// Only the lease. The effects of this attempt are unknown, and the next attempt is told so.
    Lease,
}

impl GivenUp {
    pub(super) fn end<'a>(self, engine: &'a Engine, attempt: &'a ClaimRequest) -> StoreCall<'a, ReleaseOutcome> {
        match self {
            Self::Key => engine.store.release(attempt),
            Self::Lease => engine.store.abandon(attempt),
        }
    }
}

/// Releases the attempt's key when it is dropped while armed.
///
/// It is for a claim that got no answer. The claim may exist, or may be made once the server answers again, although
/// its request was refused or its client hung up.
pub(crate) struct ReleaseOnDrop<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) attempt: &'a ClaimRequest,
    pub(crate) armed: bool,
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            give_up_behind(self.engine, self.attempt, GivenUp::Key);
        }
    }
}

/// Gives up a claim. Tries several times, because the claim may reach the store after the first try. If all tries fail,
/// the claim ends with its lease.
///
/// A shutdown waits for it, by `drain`.
pub(super) fn give_up_behind(engine: &Arc<Engine>, attempt: &ClaimRequest, what: GivenUp) {
    // When more claims than this are to be released during an outage, the others end with their leases.
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
