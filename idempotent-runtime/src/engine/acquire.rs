//! Asks the store for the key. Every call has a deadline, a duplicate waits if its policy says so, and a claim that
//! nobody uses is released.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{
    Engine,
    deadline::{self, Patience},
    release::ReleaseOnDrop,
};
use crate::{
    config::{Outage, policy::Policy},
    http::request::key::{Age, Key},
    store::{ClaimOutcome, ClaimRequest, Lookup, StoreError},
};

/// The result of asking for a key.
pub(crate) enum AcquireOutcome {
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

/// Claims the key, or finds out why that is not possible. The handler does not run in here.
///
/// The rare cases are boxed, so that the future of the usual case stays small.
pub(crate) async fn acquire(
    engine: &Arc<Engine>,
    policy: &Policy,
    key: &Key,
    attempt: &ClaimRequest,
) -> AcquireOutcome {
    // Without the journal the handler's effects could not be recorded, so nothing is claimed.
    if let Some(journal) = &engine.journal
        && !journal.is_ready()
        && !journal.prepare().await
    {
        return AcquireOutcome::JournalFailed;
    }
    let dated = if key.is_dated() { Box::pin(judge_date(engine, policy, key, attempt)).await } else { None };
    match dated {
        Some(outcome) => outcome,
        None => claim(engine, policy, attempt).await,
    }
}

/// For a key that carries a time stamp: the outcome if the key is too old or too new. `None` if the key may be claimed.
async fn judge_date(engine: &Engine, policy: &Policy, key: &Key, attempt: &ClaimRequest) -> Option<AcquireOutcome> {
    let limit = engine.settings.store_timeout;
    match deadline::repeated(limit, limit, Patience::ClientWaits, || engine.store.now()).await {
        Err(error) => Some(failed(engine, policy, error, false)),
        Ok(now) => match key.age(now, policy.ttl) {
            Age::Fresh => None,
            Age::FromTheFuture => Some(AcquireOutcome::FromTheFuture),
            Age::Expired => Some(find_expired(engine, policy, attempt).await),
        },
    }
}

async fn claim(engine: &Arc<Engine>, policy: &Policy, attempt: &ClaimRequest) -> AcquireOutcome {
    let asked = Instant::now();
    match claim_once(engine, attempt, false).await {
        Ok(ClaimOutcome::Running { left }) if policy.wait.is_some() => {
            Box::pin(wait(engine, policy, attempt, asked, left)).await
        }
        Ok(answer) => AcquireOutcome::Answered(answer, asked),
        Err(error) => failed(engine, policy, error, false),
    }
}

/// Waits until the running attempt has ended, then claims again.
async fn wait(
    engine: &Arc<Engine>,
    policy: &Policy,
    attempt: &ClaimRequest,
    asked: Instant,
    left: std::time::Duration,
) -> AcquireOutcome {
    let end = asked + policy.wait.unwrap_or_default();
    let mut running = AcquireOutcome::Answered(ClaimOutcome::Running { left }, asked);
    // If too many requests wait for this key, this one does not wait and is answered at once.
    let Some(waiter) = engine.waiters.enter(&attempt.key) else { return running };
    while Instant::now() < end {
        let lookup = || deadline::once(engine.settings.store_timeout, engine.store.lookup(&attempt.key));
        // A wait that ran out is no error: the claim below returns how much of the lease is left.
        let _ = timeout_at(end, waiter.changed(lookup)).await;
        let asked = Instant::now();
        running = match claim_once(engine, attempt, true).await {
            Ok(answer @ ClaimOutcome::Running { .. }) => AcquireOutcome::Answered(answer, asked),
            Ok(answer) => return AcquireOutcome::Answered(answer, asked),
            Err(error) => return failed(engine, policy, error, true),
        };
    }
    running
}

/// `known`: the store has already said that the key has a record.
fn failed(engine: &Engine, policy: &Policy, error: StoreError, known: bool) -> AcquireOutcome {
    engine.outage_log.failed(&error, policy.handler);
    match error {
        StoreError::Timeout | StoreError::Unreachable(_) | StoreError::Down(_) | StoreError::Refused(_) if !known => {
            AcquireOutcome::Unknown
        }
        error => AcquireOutcome::Failed(error),
    }
}

/// Claims once. A failed call is repeated with the same token, for as long as the store may take but not longer than
/// the lease.
async fn claim_once(engine: &Arc<Engine>, attempt: &ClaimRequest, known: bool) -> Result<ClaimOutcome, StoreError> {
    let limit = engine.settings.store_timeout.min(attempt.lease);
    let mut release = ReleaseOnDrop { engine, attempt, armed: true };
    let answered = deadline::repeated(limit, limit, Patience::ClientWaits, || engine.store.claim(attempt)).await;
    release.armed = match &answered {
        Ok(_) | Err(StoreError::Full(_) | StoreError::Down(_)) => false,
        // An earlier try may have made the claim, whatever the last error was. If the handler runs without a claim, the
        // claim is kept and the attempt ends it itself.
        Err(_) => known || engine.settings.outage == Outage::Refuse,
    };
    answered
}

/// Looks up the record of a key that is too old to be claimed. If there is one, it is the answer.
async fn find_expired(engine: &Engine, policy: &Policy, attempt: &ClaimRequest) -> AcquireOutcome {
    let lookup = || engine.store.lookup(&attempt.key);
    let limit = engine.settings.store_timeout;
    let answer = match deadline::repeated(limit, limit, Patience::ClientWaits, lookup).await {
        // The key is too old to run, whatever the service does during an outage.
        Err(error) => return failed(engine, policy, error, true),
        Ok(Lookup::Absent) => return AcquireOutcome::Expired,
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
    AcquireOutcome::Answered(answer, Instant::now())
}
