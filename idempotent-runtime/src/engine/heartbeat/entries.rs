//! The attempts whose leases are renewed, and when each renewal is due.

use std::{
    cmp::min,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

use crate::engine::attempt::ActiveAttempt;

/// The number of locks that the attempts are spread over.
pub(super) const SHARDS: usize = 16;

/// How many renewals may be under way at once. The others wait.
const RENEWALS: usize = 64;

/// A claim counts as lost a little before its lease is over. That margin is a tenth of the lease, and at most this
/// long.
const LONGEST_MARGIN: Duration = Duration::from_secs(1);

/// The attempts of one engine whose leases are renewed.
pub(super) struct Heartbeats {
    shards: Vec<Mutex<Shard>>,
    origin: Instant,
    /// When the task wakes next, in microseconds since `origin`.
    pub(super) wakes_at: AtomicU64,
    pub(super) wake: Notify,
    pub(super) runs: AtomicBool,
    /// The engine was dropped, so no attempt can be added any more.
    pub(super) closed: AtomicBool,
    pub(super) renewals: Semaphore,
}

impl Heartbeats {
    pub(super) fn new() -> Arc<Self> {
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

    pub(super) fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        // `index` is below SHARDS, so the shard exists. A shard is never left half changed, so a poisoned lock can be
        // used.
        #[allow(clippy::indexing_slicing)]
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn micros(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }

    #[cfg(feature = "admin")]
    pub(super) fn attempts(&self) -> Vec<Arc<ActiveAttempt>> {
        let kept = |index| {
            let shard = self.shard(index);
            shard.beats.iter().flatten().map(|beat| Arc::clone(&beat.attempt)).collect::<Vec<_>>()
        };
        (0..SHARDS).flat_map(kept).collect()
    }
}

#[derive(Default)]
pub(super) struct Shard {
    pub(super) beats: Vec<Option<Beat>>,
    free: Vec<usize>,
}

impl Shard {
    pub(super) fn add(&mut self, beat: Beat) -> usize {
        let free = self.free.pop();
        if let Some((at, place)) = free.and_then(|at| Some((at, self.beats.get_mut(at)?))) {
            *place = Some(beat);
            at
        } else {
            self.beats.push(Some(beat));
            self.beats.len() - 1
        }
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Beat> {
        let beat = self.beats.get_mut(at)?.take()?;
        self.free.push(at);
        Some(beat)
    }

    /// The attempt's entry, if the attempt has not been removed.
    pub(super) fn of(&mut self, at: usize, attempt: &Arc<ActiveAttempt>) -> Option<&mut Beat> {
        let beat = self.beats.get_mut(at)?.as_mut()?;
        Arc::ptr_eq(&beat.attempt, attempt).then_some(beat)
    }
}

/// One attempt, and when its next renewal is due.
pub(super) struct Beat {
    pub(super) attempt: Arc<ActiveAttempt>,
    /// When the last successful renewal was sent.
    pub(super) renewed: Instant,
    /// When the next renewal is due; `None` when the attempt lost its key or completed.
    pub(super) next: Option<Instant>,
    pub(super) renewing: bool,
}

impl Beat {
    /// When the claim counts as lost, if no renewal succeeds until then.
    pub(super) fn lost_at(&self) -> Instant {
        let lease = self.attempt.attempt.lease;
        self.renewed + lease - min(lease / 10, LONGEST_MARGIN)
    }

    pub(super) fn ends_at(&self) -> Instant {
        self.attempt.claimed + self.attempt.engine.settings.max_attempt
    }
}
