//! Asks the store for the key. Every call has a deadline, a duplicate waits if its policy says so, and a claim that
//! nobody uses is released.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, timeout_at};

use super::{
    Engine, Request,
    deadline::{self, RetryUntil},
    recover,
    release::ReleaseOnDrop,
};
use crate::{
    config::Outage,
    store::{ClaimOutcome, ClaimRequest, Lookup, StoreError},
};

/// How far the time stamp of a key may be ahead of the store's clock. Records of such keys live longer by the same
/// time.
pub(crate) const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// The result of asking for a key.
pub(super) enum AcquireOutcome {
    /// The store's answer, and the moment before the request to the store was sent.
    Answered(ClaimOutcome, Instant),
    /// The key's time stamp is older than the ttl, and the store has no record of the key.
    Expired,
    /// The key's time stamp is ahead of the store's clock.
    FromTheFuture,
    /// The store gave no answer, and nothing is known of the key. The service's setting for outages decides what
    /// happens next.
    Unknown,
    /// The store gave no answer, or has no room. The handler must not run: the key may have a record, or the service
    /// refuses requests during an outage.
    Failed(StoreError),
    /// The store does not know the outcome of the key's last attempt, and the journal gave no answer.
    JournalFailed,
}

/// Asks the store for the key, and the journal if the store's answer is not enough. The handler does not run in here.
///
/// The rare cases are boxed, so that the future of the usual case stays small.
pub(super) async fn claim(engine: &Arc<Engine>, request: &Request) -> AcquireOutcome {
    let Some(journal) = engine.journal.as_deref() else { return acquire(engine, request).await };
    // Without the journal the handler's effects could not be recorded, so nothing is claimed.
    if !journal.is_ready() && !journal.prepare().await {
        return AcquireOutcome::JournalFailed;
    }
    let outcome = acquire(engine, request).await;
    if recover::is_due(engine, &outcome) {
        return Box::pin(recover::recover(engine, journal, request, outcome)).await;
    }
    if let AcquireOutcome::Answered(ClaimOutcome::Running { .. }, _) = outcome {
        return Box::pin(recover::replay_committed(engine, journal, request, outcome)).await;
    }
    outcome
}

/// Claims the key, or finds out why that is not possible.
async fn acquire(engine: &Arc<Engine>, request: &Request) -> AcquireOutcome {
    if let Some(made) = request.made
        && let Some(outcome) = Box::pin(judge_date(engine, request, made)).await
    {
        return outcome;
    }
    let asked = Instant::now();
    match claim_once(engine, &request.claim, false).await {
        Ok(ClaimOutcome::Running { left }) if !request.wait.is_zero() => {
            Box::pin(wait(engine, request, asked, left)).await
        }
        Ok(answer) => AcquireOutcome::Answered(answer, asked),
        Err(error) => failed(engine, request, error, false),
    }
}

/// Waits until the running attempt has ended, then claims again.
async fn wait(engine: &Arc<Engine>, request: &Request, asked: Instant, left: Duration) -> AcquireOutcome {
    let (claim, end) = (&request.claim, asked + request.wait);
    let mut running = AcquireOutcome::Answered(ClaimOutcome::Running { left }, asked);
    // If too many requests wait for this key, this one does not wait and is answered at once.
    let Some(waiter) = engine.waiters.enter(&claim.key) else { return running };
    while Instant::now() < end {
        let lookup = || deadline::once(engine.settings.store_timeout, engine.store.lookup(&claim.key));
        // A wait that ran out is no error: the claim below returns how much of the lease is left.
        let _ = timeout_at(end, waiter.changed(lookup)).await;
        let asked = Instant::now();
        running = match claim_once(engine, claim, true).await {
            Ok(answer @ ClaimOutcome::Running { .. }) => AcquireOutcome::Answered(answer, asked),
            Ok(answer) => return AcquireOutcome::Answered(answer, asked),
            Err(error) => return failed(engine, request, error, true),
        };
    }
    running
}

/// `known`: this request has seen a record, so an error is no outage.
fn failed(engine: &Engine, request: &Request, error: StoreError, known: bool) -> AcquireOutcome {
    engine.outage_log.failed(&error, request.handler);
    match error {
        StoreError::Timeout | StoreError::Unreachable(_) | StoreError::Down(_) | StoreError::Refused(_) if !known => {
            AcquireOutcome::Unknown
        }
        error => AcquireOutcome::Failed(error),
    }
}

/// Claims once. A failed call is repeated with the same token, for as long as the store may take but not longer than
/// the lease.
async fn claim_once(engine: &Arc<Engine>, claim: &ClaimRequest, known: bool) -> Result<ClaimOutcome, StoreError> {
    let limit = engine.settings.store_timeout.min(claim.lease);
    let mut release = ReleaseOnDrop { engine, claim, armed: true };
    let answered = deadline::repeated(limit, limit, RetryUntil::ClientGivesUp, || engine.store.claim(claim)).await;
    release.armed = match &answered {
        Ok(_) | Err(StoreError::Full(_) | StoreError::Down(_)) => false,
        // An earlier try may have made the claim, whatever the last error was. If the handler runs without a claim, the
        // claim is kept and the attempt ends it itself.
        Err(_) => known || engine.settings.outage == Outage::Refuse,
    };
    answered
}

/// For a key that carries the time when it was made: the outcome if the key is too old or too new. `None` if the key
/// may be claimed.
async fn judge_date(engine: &Engine, request: &Request, made: Duration) -> Option<AcquireOutcome> {
    let limit = engine.settings.store_timeout;
    let now = match deadline::repeated(limit, limit, RetryUntil::ClientGivesUp, || engine.store.now()).await {
        Ok(now) => now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        Err(error) => return Some(failed(engine, request, error, false)),
    };
    match age(now, made, request.claim.ttl) {
        Age::Fresh => None,
        Age::FromTheFuture => Some(AcquireOutcome::FromTheFuture),
        Age::Expired => Some(find_expired(engine, request).await),
    }
}

/// The age of a key that says when it was made, by the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// The key may be claimed.
    Fresh,
    /// The key is older than the ttl. Its record may be gone, so it cannot be known whether the request ran.
    Expired,
    /// The key is further ahead of the store's clock than clocks normally differ.
    FromTheFuture,
}

/// `ttl`: that of the claim, which includes the tolerance.
fn age(now: Duration, made: Duration, ttl: Duration) -> Age {
    if made > now.saturating_add(CLOCK_TOLERANCE) {
        Age::FromTheFuture
    } else if now > made.saturating_add(ttl.saturating_sub(CLOCK_TOLERANCE)) {
        Age::Expired
    } else {
        Age::Fresh
    }
}

/// Looks up the record of a key that is too old to be claimed. If there is one, it is the answer.
async fn find_expired(engine: &Engine, request: &Request) -> AcquireOutcome {
    let claim = &request.claim;
    let lookup = || engine.store.lookup(&claim.key);
    let limit = engine.settings.store_timeout;
    let answer = match deadline::repeated(limit, limit, RetryUntil::ClientGivesUp, lookup).await {
        // The key is too old to run, whatever the service does during an outage.
        Err(error) => return failed(engine, request, error, true),
        Ok(Lookup::Absent) => return AcquireOutcome::Expired,
        Ok(Lookup::Unreadable) => ClaimOutcome::Unreadable,
        Ok(Lookup::Done { fingerprint, .. } | Lookup::Running { fingerprint, .. })
            if fingerprint != claim.fingerprint =>
        {
            ClaimOutcome::OtherRequest
        }
        Ok(Lookup::Done { record, .. }) => ClaimOutcome::Done(record),
        Ok(Lookup::Running { left, .. }) if left.is_zero() => ClaimOutcome::Died,
        Ok(Lookup::Running { left, .. }) => ClaimOutcome::Running { left },
    };
    AcquireOutcome::Answered(answer, Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dated_key_is_judged_by_the_clock_it_is_given() {
        let (made, ttl, second) =
            (Duration::from_secs(1_700_000_000), Duration::from_secs(3_600), Duration::from_secs(1));
        let age = |now: Duration| age(now, made, ttl + CLOCK_TOLERANCE);
        assert_eq!(age(made), Age::Fresh);
        assert_eq!(age(made + ttl), Age::Fresh);
        assert_eq!(age(made + ttl + second), Age::Expired);
        assert_eq!(age(made.checked_sub(CLOCK_TOLERANCE).unwrap()), Age::Fresh);
        assert_eq!(age(made.checked_sub(CLOCK_TOLERANCE + second).unwrap()), Age::FromTheFuture);
    }
}
