//! Renews the lease of one attempt.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use tokio::time::Instant;

use super::entries::Heartbeats;
use crate::{
    engine::{attempt::ActiveAttempt, deadline},
    error_chain::chain,
    store::RenewOutcome,
    telemetry::{self, limited},
};

/// A renewal that is under way. When it is dropped, with or without a result, its attempt is told.
pub(super) struct Renewal {
    pub(super) heartbeats: Arc<Heartbeats>,
    pub(super) attempt: Arc<ActiveAttempt>,
    pub(super) place: (usize, usize),
    pub(super) result: Option<(Instant, RenewOutcome)>,
}

/// Asks the store to renew the lease.
pub(super) async fn renew(mut renewal: Renewal) {
    let ActiveAttempt { engine, attempt, .. } = &*renewal.attempt;
    let Some(held) = renewal.attempt.standing() else { return };
    // The semaphore is never closed. If it were, the renewal would go on without a permit.
    let _turn = renewal.heartbeats.renewals.acquire().await;
    let asked = Instant::now();
    match deadline::once(renewal.attempt.renewal_limit(), engine.store.renew(attempt, &held)).await {
        Ok(outcome) => renewal.result = Some((asked, outcome)),
        Err(error) => limited!(warn, error = %chain(&error), "a heartbeat did not reach the store"),
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        let (shard, at) = self.place;
        let lease = self.attempt.attempt.lease;
        let now = Instant::now();
        if self.result.is_none() {
            self.attempt.renewal_unanswered.store(true, SeqCst);
        }
        let mut due = None;
        if let Some(beat) = self.heartbeats.shard(shard).of(at, &self.attempt) {
            beat.renewing = false;
            beat.next = match self.result {
                Some((asked, RenewOutcome::Renewed | RenewOutcome::Recreated)) => {
                    beat.renewed = asked;
                    Some(asked + lease / 3)
                }
                Some((_, RenewOutcome::Completed | RenewOutcome::Lost)) => None,
                // Tries go on after the lease is over: if nobody else claimed the key, a store that is reachable again
                // still has the claim.
                None => Some(now + lease / 10),
            };
            due = beat.next;
        }
        match self.result {
            Some((_, RenewOutcome::Lost)) => self.attempt.lose("another attempt has taken the key over"),
            Some((_, RenewOutcome::Recreated)) => telemetry::recreated(self.attempt.attempt.key.as_str()),
            _ => {}
        }
        self.attempt.renewal_ended.notify_waiters();
        if due.is_some_and(|due| self.heartbeats.micros(due) < self.heartbeats.wakes_at.load(SeqCst)) {
            self.heartbeats.wake.notify_one();
        }
    }
}
