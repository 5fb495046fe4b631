//! Asking the store for the key: within a deadline, with a wait where the policy has one, and without leaving a claim behind.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout_at},
};

use super::{Engine, deadline, recover};
use crate::{
    config::{Outage, policy::Policy},
    request::key::{Age, Key},
    store::{Attempt, ClaimOutcome, Lookup, ReleaseOutcome, StoreError},
};

/// What asking came to.
pub(crate) enum Claiming {
    /// The store's answer.
    Answered(ClaimOutcome),
    /// The key's time stamp is older than the ttl, and nothing is known of it.
    Expired,
    /// The key's time stamp is ahead of the store's clock.
    FromTheFuture,
    /// The store gave no answer, and nothing is known of the key: what follows is the service's policy for outages.
    Unknown,
    /// The store gave no answer or has no room, and something is known of the key or would have to be: nothing may run.
    Failed(StoreError),
    /// What became of the key is not known to the store, and the journal gave no answer.
    JournalFailed,
}

/// Claims the key, or finds out why not; of what the store cannot tell, the journal is asked. Nothing runs in here.
pub(crate) async fn claim(engine: &Arc<Engine>, policy: &Policy, key: &Key, attempt: &Attempt) -> Claiming {
    let claiming = ask_store(engine, policy, key, attempt).await;
    recover::heal(engine, attempt, claiming).await
}

async fn ask_store(engine: &Arc<Engine>, policy: &Policy, key: &Key, attempt: &Attempt) -> Claiming {
    if key.is_dated() {
        match deadline::once(engine.settings.store_timeout, engine.store.now()).await {
            Err(error) => return Claiming::Failed(error),
            Ok(now) => match key.age(now, policy.ttl) {
                Age::Fresh => {}
                Age::FromTheFuture => return Claiming::FromTheFuture,
                Age::Expired => return find_expired(engine, attempt).await,
            },
        }
    }
    let end_of_wait = policy.wait.map(|wait| Instant::now() + wait);
    let mut known = false;
    loop {
        let left = match claim_once(engine, attempt, known).await {
            Ok(ClaimOutcome::Running { left }) => left,
            Ok(answer) => return Claiming::Answered(answer),
            Err(error) => {
                engine.outage_log.failed(&error, policy.handler);
                return match error {
                    StoreError::Timeout | StoreError::Unreachable(_) | StoreError::Down(_) | StoreError::Refused(_)
                        if !known =>
                    {
                        Claiming::Unknown
                    }
                    error => Claiming::Failed(error),
                };
            }
        };
        known = true;
        let Some(end) = end_of_wait.filter(|end| Instant::now() < *end) else {
            return Claiming::Answered(ClaimOutcome::Running { left });
        };
        let waiter = engine.waiters.enter(&attempt.key);
        let look = || deadline::once(engine.settings.store_timeout, engine.store.lookup(&attempt.key));
        // A wait that is over is no error: the last claim tells what is left of the lease now.
        let _ = timeout_at(end, waiter.news(look)).await;
    }
}

/// One claim, repeated with its token for as long as the store may take, but not beyond the lease that it asks for. A full
/// store is an answer: it does not get emptier by asking.
async fn claim_once(engine: &Arc<Engine>, attempt: &Attempt, known: bool) -> Result<ClaimOutcome, StoreError> {
    let limit = engine.settings.store_timeout.min(attempt.lease);
    let mut ghost = ReleaseOnDrop { engine, attempt, armed: true };
    let answered = deadline::repeated_unless_down(limit, || engine.store.claim(attempt)).await;
    ghost.armed = match &answered {
        Ok(_) | Err(StoreError::Full(_) | StoreError::Down(_)) => false,
        // Whatever the last error was, an earlier try may have made the claim. An unprotected run keeps the ghost as its
        // own claim and ends it itself.
        Err(_) => known || engine.settings.outage == Outage::Refuse,
    };
    answered
}

/// A claim without an answer may have been made, or be made when the server wakes up, though its request was refused or
/// its client went.
pub(crate) struct ReleaseOnDrop<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) attempt: &'a Attempt,
    pub(crate) armed: bool,
}

/// Sets the key free again; if that fails, the lease ends the claim.
impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // More releases than this in an outage are left to their leases.
        let Ok(permit) = self.engine.releases.clone().try_acquire_owned() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let (engine, attempt) = (self.engine.clone(), self.attempt.clone());
        runtime.spawn(async move {
            for pause in [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1), attempt.lease] {
                sleep(pause.min(attempt.lease)).await;
                let release = engine.store.release(&attempt);
                if let Ok(ReleaseOutcome::Ended) = deadline::once(engine.settings.store_timeout, release).await {
                    engine.waiters.wake(&attempt.key);
                    break;
                }
            }
            drop(permit);
        });
    }
}

/// A key that is too old to be claimed may still be answered.
async fn find_expired(engine: &Engine, attempt: &Attempt) -> Claiming {
    let look = || engine.store.lookup(&attempt.key);
    let limit = engine.settings.store_timeout;
    let answer = match deadline::repeated_unless_down(limit, look).await {
        Err(error) => return Claiming::Failed(error),
        Ok(Lookup::Absent) => return Claiming::Expired,
        Ok(Lookup::Unreadable) => ClaimOutcome::Unreadable,
        Ok(Lookup::Done { fingerprint, .. } | Lookup::Running { fingerprint, .. })
            if fingerprint != attempt.fingerprint =>
        {
            ClaimOutcome::OtherRequest
        }
        Ok(Lookup::Done { record, .. }) => ClaimOutcome::Done(record),
        Ok(Lookup::Running { left, .. }) if left.is_zero() => ClaimOutcome::Died,
        Ok(Lookup::Running { left, .. }) => ClaimOutcome::Running { left },
    };
    Claiming::Answered(answer)
}
