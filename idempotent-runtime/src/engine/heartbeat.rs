//! Renews the leases of all attempts of an engine, in one task.
//!
//! An attempt is added when it starts and removed when its response is about to be stored. The task sleeps until the
//! first renewal or deadline is due, checks all attempts, and starts the renewals that are due. It is a separate task,
//! so a handler that blocks its thread does not delay it, as long as the runtime has another thread.

mod entries;
mod renewal;

use std::{
    cmp::min,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};

use self::{
    entries::{Beat, Heartbeats, SHARDS},
    renewal::{Renewal, renew},
};
use super::attempt::ActiveAttempt;

/// The engine's handle to its heartbeats. Dropping it ends the task.
pub(crate) struct OwnedHeartbeats(Arc<Heartbeats>);

impl OwnedHeartbeats {
    pub(crate) fn new() -> Self {
        Self(Heartbeats::new())
    }

    /// Renews the attempt's lease until the returned guard is stopped or dropped.
    pub(crate) fn keep(&self, attempt: &Arc<ActiveAttempt>) -> Heartbeat {
        let heartbeats = &self.0;
        let due = attempt.claimed + attempt.attempt.lease / 3;
        let beat = Beat { attempt: Arc::clone(attempt), renewed: attempt.claimed, next: Some(due), renewing: false };
        // The addresses of the attempts differ, which spreads them over the shards.
        let shard = (Arc::as_ptr(attempt).addr() >> 7) % SHARDS;
        let at = heartbeats.shard(shard).add(beat);
        if !heartbeats.runs.load(SeqCst) {
            start(heartbeats);
        }
        if heartbeats.micros(due) < heartbeats.wakes_at.load(SeqCst) {
            heartbeats.wake.notify_one();
        }
        Heartbeat { heartbeats: Arc::clone(heartbeats), attempt: Arc::clone(attempt), shard, at, kept: true }
    }

    /// The attempts that run under a claim. No more than may be in flight.
    #[cfg(feature = "admin")]
    pub(crate) fn attempts(&self) -> Vec<Arc<ActiveAttempt>> {
        self.0.attempts()
    }
}

impl Drop for OwnedHeartbeats {
    fn drop(&mut self) {
        self.0.closed.store(true, SeqCst);
        self.0.wake.notify_one();
    }
}

/// The lease of an attempt is renewed while this guard exists.
pub(crate) struct Heartbeat {
    heartbeats: Arc<Heartbeats>,
    attempt: Arc<ActiveAttempt>,
    shard: usize,
    at: usize,
    kept: bool,
}

impl Heartbeat {
    /// Stops the renewals, and waits for one that is under way. If that one arrived later, it would create the claim
    /// again after it was given up.
    pub(crate) async fn stop(mut self) {
        let attempt = Arc::clone(&self.attempt);
        let ended = attempt.renewal_ended.notified();
        let renewing = self.remove().is_some_and(|beat| beat.renewing);
        if renewing {
            // A renewal has a time limit, and it may have waited as long for its permit.
            let _ = tokio::time::timeout(attempt.renewal_limit() * 2, ended).await;
        }
    }

    fn remove(&mut self) -> Option<Beat> {
        let kept = std::mem::replace(&mut self.kept, false);
        kept.then(|| self.heartbeats.shard(self.shard).remove(self.at)).flatten()
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Starts the task unless it is running. The task ends with the engine.
fn start(heartbeats: &Arc<Heartbeats>) {
    // Without a tokio runtime no attempt can run, so there is nothing to renew.
    let Ok(runtime) = Handle::try_current() else { return };
    if !heartbeats.runs.swap(true, SeqCst) {
        runtime.spawn(beat(Running(Arc::clone(heartbeats))));
    }
}

/// The heartbeat task.
async fn beat(running: Running) {
    loop {
        // An attempt that is added during the check below wakes the task again.
        running.0.wakes_at.store(u64::MAX, SeqCst);
        let next = check_all(&running.0, Instant::now());
        if next.is_none() && running.0.closed.load(SeqCst) {
            return;
        }
        let wake = running.0.wake.notified();
        match next {
            Some(next) => {
                running.0.wakes_at.fetch_min(running.0.micros(next), SeqCst);
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = wake => {}
                }
            }
            None => wake.await,
        }
    }
}

/// Held by the task while it runs. When the tokio runtime drops the task, this marks it as stopped, and the next
/// attempt starts a new one.
struct Running(Arc<Heartbeats>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.wakes_at.store(u64::MAX, SeqCst);
        self.0.runs.store(false, SeqCst);
    }
}

/// Starts the renewals that are due. Returns when the next one, or the next deadline, is due.
fn check_all(heartbeats: &Arc<Heartbeats>, now: Instant) -> Option<Instant> {
    let mut earliest = None;
    for index in 0..SHARDS {
        let mut shard = heartbeats.shard(index);
        for (at, place) in shard.beats.iter_mut().enumerate() {
            let Some(beat) = place else { continue };
            let next = check(heartbeats, beat, now, (index, at));
            earliest = [earliest, next].into_iter().flatten().min();
        }
    }
    earliest
}

/// Checks one attempt. Returns when it must be checked again.
fn check(heartbeats: &Arc<Heartbeats>, beat: &mut Beat, now: Instant, place: (usize, usize)) -> Option<Instant> {
    if beat.ends_at() <= now {
        beat.attempt.lose("the attempt lasts longer than max_attempt");
        beat.next = None;
    }
    let next = beat.next?;
    let mut due = beat.ends_at();
    if !beat.attempt.is_lost() {
        if beat.lost_at() <= now {
            beat.attempt.lose("the lease is about to end, and no heartbeat reached the store");
        } else {
            due = min(due, beat.lost_at());
        }
    }
    if beat.renewing {
        return Some(due);
    }
    if next > now {
        return Some(min(due, next));
    }
    beat.renewing = true;
    let renewal =
        Renewal { heartbeats: Arc::clone(heartbeats), attempt: Arc::clone(&beat.attempt), place, result: None };
    tokio::spawn(renew(renewal));
    Some(due)
}
