//! Renews the leases of all attempts of an engine, in one task.
//!
//! An attempt is added when it starts and removed when its response is about to be stored. The task sleeps until the
//! first renewal or deadline is due, checks all attempts, and starts the renewals that are due. It is a separate task,
//! so a handler that blocks its thread does not delay it, as long as the runtime has another thread.

use std::{
    cmp::min,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    time::{Instant, sleep_until},
};

use super::{attempt::ActiveAttempt, deadline};
use crate::{
    error_chain::chain,
    store::RenewOutcome,
    telemetry::{self, limited},
};

/// The number of locks that the attempts are spread over.
const SHARDS: usize = 16;

/// How many renewals may be under way at once. The others wait.
const RENEWALS: usize = 64;

/// A claim counts as lost a little before its lease is over. That margin is a tenth of the lease, and at most this
/// long.
const LONGEST_MARGIN: Duration = Duration::from_secs(1);

/// The attempts of one engine whose leases are renewed.
struct Heartbeats {
    shards: Vec<Mutex<Shard>>,
    origin: Instant,
    /// When the task wakes next, in microseconds since `origin`.
    wakes_at: AtomicU64,
    wake: Notify,
    runs: AtomicBool,
    /// The engine was dropped, so no attempt can be added any more.
    closed: AtomicBool,
    renewals: Semaphore,
}

#[derive(Default)]
struct Shard {
    beats: Vec<Option<Beat>>,
    free: Vec<usize>,
}

/// One attempt, and when its next renewal is due.
struct Beat {
    attempt: Arc<ActiveAttempt>,
    /// When the last successful renewal was sent.
    renewed: Instant,
    /// When the next renewal is due; `None` when the attempt lost its key or completed.
    next: Option<Instant>,
    renewing: bool,
}

impl Beat {
    /// When the claim counts as lost, if no renewal succeeds until then.
    fn lost_at(&self) -> Instant {
        let lease = self.attempt.attempt.lease;
        self.renewed + lease - min(lease / 10, LONGEST_MARGIN)
    }

    fn ends_at(&self) -> Instant {
        self.attempt.claimed + self.attempt.engine.settings.max_attempt
    }
}

impl Heartbeats {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            origin: Instant::now(),
            wakes_at: AtomicU64::new(u64::MAX),
            wake: Notify::new(),
            runs: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            renewals: Semaphore::new(RENEWALS),
        })
    }

    fn keep(self: &Arc<Self>, attempt: &Arc<ActiveAttempt>) -> Heartbeat {
        let due = attempt.claimed + attempt.attempt.lease / 3;
        let beat = Beat { attempt: Arc::clone(attempt), renewed: attempt.claimed, next: Some(due), renewing: false };
        // The addresses of the attempts differ, which spreads them over the shards.
        let shard = (Arc::as_ptr(attempt).addr() >> 7) % SHARDS;
        let at = self.shard(shard).add(beat);
        if !self.runs.load(SeqCst) {
            self.start();
        }
        if self.micros(due) < self.wakes_at.load(SeqCst) {
            self.wake.notify_one();
        }
        Heartbeat { heartbeats: Arc::clone(self), attempt: Arc::clone(attempt), shard, at, kept: true }
    }

    fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        // `index` is below SHARDS, so the shard exists. A shard is never left half changed, so a poisoned lock can be
        // used.
        #[allow(clippy::indexing_slicing)]
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn micros(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }

    #[cfg(feature = "admin")]
    fn attempts(&self) -> Vec<Arc<ActiveAttempt>> {
        let kept = |index| {
            let shard = self.shard(index);
            shard.beats.iter().flatten().map(|beat| Arc::clone(&beat.attempt)).collect::<Vec<_>>()
        };
        (0..SHARDS).flat_map(kept).collect()
    }

    /// Starts the task unless it is running. The task ends with the engine.
    fn start(self: &Arc<Self>) {
        // Without a tokio runtime no attempt can run, so there is nothing to renew.
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.runs.swap(true, SeqCst) {
            runtime.spawn(beat(Running(Arc::clone(self))));
        }
    }

    /// Starts the renewals that are due. Returns when the next one, or the next deadline, is due.
    fn look(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let mut earliest = None;
        for index in 0..SHARDS {
            let mut shard = self.shard(index);
            for (at, place) in shard.beats.iter_mut().enumerate() {
                let Some(beat) = place else { continue };
                let next = self.look_at(beat, now, (index, at));
                earliest = [earliest, next].into_iter().flatten().min();
            }
        }
        earliest
    }

    fn look_at(self: &Arc<Self>, beat: &mut Beat, now: Instant, place: (usize, usize)) -> Option<Instant> {
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
        let renewal = Renewal { heartbeats: Arc::clone(self), attempt: Arc::clone(&beat.attempt), place, result: None };
        tokio::spawn(renew(renewal));
        Some(due)
    }
}

impl Shard {
    fn add(&mut self, beat: Beat) -> usize {
        let free = self.free.pop();
        if let Some((at, place)) = free.and_then(|at| Some((at, self.beats.get_mut(at)?))) {
            *place = Some(beat);
            at
        } else {
            self.beats.push(Some(beat));
            self.beats.len() - 1
        }
    }

    fn remove(&mut self, at: usize) -> Option<Beat> {
        let beat = self.beats.get_mut(at)?.take()?;
        self.free.push(at);
        Some(beat)
    }

    /// The attempt's entry, if the attempt has not been removed.
    fn of(&mut self, at: usize, attempt: &Arc<ActiveAttempt>) -> Option<&mut Beat> {
        let beat = self.beats.get_mut(at)?.as_mut()?;
        Arc::ptr_eq(&beat.attempt, attempt).then_some(beat)
    }
}

/// The heartbeat task.
async fn beat(running: Running) {
    loop {
        // An attempt that is added during the check below wakes the task again.
        running.0.wakes_at.store(u64::MAX, SeqCst);
        let next = running.0.look(Instant::now());
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

/// The engine's handle to its heartbeats. Dropping it ends the task.
pub(crate) struct OwnedHeartbeats(Arc<Heartbeats>);

impl OwnedHeartbeats {
    pub(crate) fn new() -> Self {
        Self(Heartbeats::new())
    }

    /// Renews the attempt's lease until the returned guard is stopped or dropped.
    pub(crate) fn keep(&self, attempt: &Arc<ActiveAttempt>) -> Heartbeat {
        self.0.keep(attempt)
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

/// A renewal that is under way. When it is dropped, with or without a result, its attempt is told.
struct Renewal {
    heartbeats: Arc<Heartbeats>,
    attempt: Arc<ActiveAttempt>,
    place: (usize, usize),
    result: Option<(Instant, RenewOutcome)>,
}

async fn renew(mut renewal: Renewal) {
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
