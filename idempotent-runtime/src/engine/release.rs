//! Sets a key free whose claim nobody uses, behind the request.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::sleep};

use super::{Engine, deadline};
use crate::store::{Attempt, ReleaseOutcome};

/// How long after the first try the next ones follow; the last one comes after a lease.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1)];

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
            release_behind(self.engine, self.attempt);
        }
    }
}

/// Releases the key until a release finds a claim to end. If none does, the lease ends the claim.
///
/// A shutdown waits for it, by `drain`.
pub(crate) fn release_behind(engine: &Arc<Engine>, attempt: &Attempt) {
    // More releases than this in an outage are left to their leases.
    let Ok(permit) = engine.releases.clone().try_acquire_owned() else { return };
    let Ok(runtime) = Handle::try_current() else { return };
    let (engine, attempt, background) = (Arc::clone(engine), attempt.clone(), engine.load.background());
    runtime.spawn(async move {
        for pause in PAUSES.into_iter().chain([attempt.lease]) {
            sleep(pause.min(attempt.lease)).await;
            let released = deadline::once(engine.settings.store_timeout, engine.store.release(&attempt)).await;
            if let Ok(ReleaseOutcome::Ended) = released {
                engine.waiters.released(&attempt.key);
                break;
            }
        }
        drop((permit, background));
    });
}
