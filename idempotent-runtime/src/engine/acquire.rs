//! Asks the store for the key: within a deadline, with a wait where the policy has one, and without leaving a claim
//! behind that nobody uses.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{
    Engine,
    deadline::{self, Patience},
    release::ReleaseOnDrop,
};
use crate::{
    config::{Outage, policy::Policy},
    request::key::{Age, Key},
    store::{Attempt, ClaimOutcome, Lookup, StoreError},
};

/// What asking for a key came to.
pub(crate) enum AcquireOutcome {
    /// The store's answer, and the moment before it was asked for.
    Answered(ClaimOutcome, Instant),
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

/// Claims the key, or finds out why not. Nothing runs in here.
///
/// Rare ways are boxed, so that the usual one is a small future.
pub(crate) async fn acquire(engine: &Arc<Engine>, policy: &Policy, key: &Key, attempt: &Attempt) -> AcquireOutcome {
    // Nothing is claimed for a handler whose effects could not be recorded.
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

/// What a key that carries its time is answered with, unless it is fresh.
async fn judge_date(engine: &Engine, policy: &Policy, key: &Key, attempt: &Attempt) -> Option<AcquireOutcome> {
    match deadline::once(engine.settings.store_timeout, engine.store.now()).await {
        Err(error) => Some(AcquireOutcome::Failed(error)),
        Ok(now) => match key.age(now, policy.ttl) {
            Age::Fresh => None,
            Age::FromTheFuture => Some(AcquireOutcome::FromTheFuture),
            Age::Expired => Some(find_expired(engine, attempt).await),
        },
    }
}

async fn claim(engine: &Arc<Engine>, policy: &Policy, attempt: &Attempt) -> AcquireOutcome {
    let asked = Instant::now();
    match claim_once(engine, attempt, false).await {
        Ok(ClaimOutcome::Running { left }) if policy.wait.is_some() => {
            Box::pin(wait(engine, policy, attempt, asked, left)).await
        }
        Ok(answer) => AcquireOutcome::Answered(answer, asked),
        Err(error) => failed(engine, policy, error, false),
    }
}

/// Waits for the attempt that runs, and claims again when it has ended.
async fn wait(
    engine: &Arc<Engine>,
    policy: &Policy,
    attempt: &Attempt,
    asked: Instant,
    left: std::time::Duration,
) -> AcquireOutcome {
    let end = asked + policy.wait.unwrap_or_default();
    let mut running = AcquireOutcome::Answered(ClaimOutcome::Running { left }, asked);
    // With too many waiters already, this one is answered as if it could not wait.
    let Some(waiter) = engine.waiters.enter(&attempt.key) else { return running };
    while Instant::now() < end {
        let lookup = || deadline::once(engine.settings.store_timeout, engine.store.lookup(&attempt.key));
        // A wait that is over is no error: the last claim tells what is left of the lease now.
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

/// `known`: the store has said that there is a record of the key.
fn failed(engine: &Engine, policy: &Policy, error: StoreError, known: bool) -> AcquireOutcome {
    engine.outage_log.failed(&error, policy.handler);
    match error {
        StoreError::Timeout | StoreError::Unreachable(_) | StoreError::Down(_) | StoreError::Refused(_) if !known => {
            AcquireOutcome::Unknown
        }
        error => AcquireOutcome::Failed(error),
    }
}

/// One claim, repeated with its token for as long as the store may take, but not beyond the lease that it asks for.
async fn claim_once(engine: &Arc<Engine>, attempt: &Attempt, known: bool) -> Result<ClaimOutcome, StoreError> {
    let limit = engine.settings.store_timeout.min(attempt.lease);
    let mut release = ReleaseOnDrop { engine, attempt, armed: true };
    let answered = deadline::repeated(limit, limit, Patience::WhileSent, || engine.store.claim(attempt)).await;
    release.armed = match &answered {
        Ok(_) | Err(StoreError::Full(_) | StoreError::Down(_)) => false,
        // Whatever the last error was, an earlier try may have made the claim. An unprotected run keeps it as its own
        // and ends it itself.
        Err(_) => known || engine.settings.outage == Outage::Refuse,
    };
    answered
}

/// A key that is too old to be claimed may still be answered.
async fn find_expired(engine: &Engine, attempt: &Attempt) -> AcquireOutcome {
    let lookup = || engine.store.lookup(&attempt.key);
    let limit = engine.settings.store_timeout;
    let answer = match deadline::repeated(limit, limit, Patience::WhileSent, lookup).await {
        Err(error) => return AcquireOutcome::Failed(error),
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
