//! Ends a claim without a response, in the background of a request if necessary.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::Instant};

use super::{Engine, deadline};
use crate::{
    backoff::Backoff,
    store::{ClaimRequest, ReleaseOutcome, StoreCall},
};

/// The pause after the first try. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// How a claim ends without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The key is freed. The next attempt is a first attempt.
    Release,
    /// Only the lease ends. The effects of this attempt are unknown, and the next attempt is told so.
    Abandon,
}

impl End {
    pub(super) fn call<'a>(self, engine: &'a Engine, claim: &'a ClaimRequest) -> StoreCall<'a, ReleaseOutcome> {
        match self {
            Self::Release => engine.store.release(claim),
            Self::Abandon => engine.store.abandon(claim),
        }
    }
}

/// Releases the claim when it is dropped while armed.
///
/// For a claim whose answer was lost: it may exist, or appear later.
pub(super) struct ReleaseOnDrop<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) claim: &'a ClaimRequest,
    pub(super) armed: bool,
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            end_in_background(self.engine, self.claim, End::Release);
        }
    }
}

/// Ends a claim that may exist, or that a command which is still on its way may make. Tries until the store answers, or
/// the lease has ended. A store that has answered remembers it, so a claim that comes later does not take the key.
///
/// A shutdown waits for it, by `drain`.
pub(super) fn end_in_background(engine: &Arc<Engine>, claim: &ClaimRequest, end: End) {
    // When more claims than this are to be released during an outage, the others end with their leases.
    let Ok(permit) = engine.releases.clone().try_acquire_owned() else { return };
    let Ok(runtime) = Handle::try_current() else { return };
    let (engine, claim, background) = (Arc::clone(engine), claim.clone(), engine.load.background());
    runtime.spawn(async move {
        let each = engine.settings.store_timeout;
        let mut backoff = Backoff::new(FIRST_PAUSE.min(claim.lease), claim.lease).until(Instant::now() + claim.lease);
        loop {
            match deadline::once(each, end.call(&engine, &claim)).await {
                Ok(ReleaseOutcome::Ended) => engine.waiters.released(&claim.key),
                Err(_) if backoff.pause().await => continue,
                Ok(ReleaseOutcome::NotOurs) | Err(_) => {}
            }
            break;
        }
        drop((permit, background));
    });
}
