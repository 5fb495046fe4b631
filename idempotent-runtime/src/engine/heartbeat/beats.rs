//! The attempts whose leases are renewed, and when each renewal is due.

use std::{
    cmp::min,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    engine::{Engine, attempt::ActiveAttempt},
    store::StoreHandle,
};

/// The number of locks that the attempts are spread over.
pub(super) const SHARDS: usize = 16;

/// How many renewals may be under way at once. The others wait.
const RENEWALS: usize = 64;

/// A claim counts as lost a little before its lease is over. That margin is a tenth of the lease, and at most this
/// long.
const LONGEST_MARGIN: Duration = Duration::from_secs(1);

/// The attempts of one engine whose leases are renewed.
pub(super) struct Beats {
    shards: Vec<Mutex<Shard>>,
    /// How many attempts were ever added. Each goes to the next shard.
    pub(super) added: AtomicUsize,
    origin: Instant,
    /// When the thread wakes next, in microseconds since `origin`.
    wakes_at: AtomicU64,
    pub(super) wake: Notify,
    /// A thread, or a task, renews the leases.
    pub(super) runs: AtomicBool,
    /// The engine was dropped, so no attempt can be added any more.
    pub(super) closed: AtomicBool,
    /// How many renewals are under way.
    pub(super) renewing: AtomicUsize,
    /// The store over connections of the thread's own, if the store can have them.
    own_store: OnceLock<Option<StoreHandle>>,
    /// Until when only the service's connections are asked, in microseconds since `origin`.
    own_store_rests: AtomicU64,
}

/// Where an attempt is in the list.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) shard: usize,
    pub(super) at: usize,
}

/// What a check of all attempts has found.
#[derive(Default)]
pub(super) struct Checked {
    /// The renewals to start now. They count as under way.
    pub(super) due: Vec<(Place, Arc<ActiveAttempt>)>,
    /// The attempts whose claims count as lost, and the reasons.
    pub(super) lost: Vec<(Arc<ActiveAttempt>, &'static str)>,
    /// When the next renewal or deadline is due.
    pub(super) next: Option<Instant>,
    /// More renewals are due than may be under way. They start when others end.
    pub(super) more: bool,
}

impl Beats {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            added: AtomicUsize::new(0),
            origin: Instant::now(),
            wakes_at: AtomicU64::new(u64::MAX),
            wake: Notify::new(),
            runs: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            renewing: AtomicUsize::new(0),
            own_store: OnceLock::new(),
            own_store_rests: AtomicU64::new(0),
        })
    }

    pub(super) fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        // `index` is below SHARDS, so the shard exists. A shard is never left half changed, so a poisoned lock can be
        // used.
        #[allow(clippy::indexing_slicing)]
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store over connections of the thread's own. `None` if it has no others than the service's, or if it rests.
    pub(super) fn own_store(&self, engine: &Engine) -> Option<&StoreHandle> {
        let rests = self.micros(Instant::now()) < self.own_store_rests.load(SeqCst);
        self.own_store.get_or_init(|| engine.store.for_heartbeats()).as_ref().filter(|_| !rests)
    }

    /// Called with the time for which the service's connections are asked instead of the thread's own.
    pub(super) fn rest_own_store(&self, rest: Duration) {
        self.own_store_rests.store(self.micros(Instant::now() + rest), SeqCst);
    }

    /// Called before the thread checks the attempts, and when it goes to sleep. `None`: anything due wakes it.
    pub(super) fn wakes_at(&self, moment: Option<Instant>) {
        self.wakes_at.store(moment.map_or(u64::MAX, |moment| self.micros(moment)), SeqCst);
    }

    /// Wakes the thread if it would sleep longer than until this moment.
    pub(super) fn wake_before(&self, moment: Instant) {
        if self.micros(moment) < self.wakes_at.load(SeqCst) {
            self.wake.notify_one();
        }
    }

    fn micros(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }

    /// Checks all attempts. Nothing else happens while a lock is held: to wake a task, or to start one on a runtime that
    /// ends, may drop an attempt, and dropping one takes its lock.
    pub(super) fn check(&self, now: Instant) -> Checked {
        let mut checked = Checked::default();
        let mut due = Vec::new();
        for index in 0..SHARDS {
            let mut shard = self.shard(index);
            for (at, beat) in shard.beats.iter_mut().enumerate() {
                let Some(beat) = beat else { continue };
                if beat.check(now, &mut checked) {
                    due.push((beat.next, Place { shard: index, at }));
                }
            }
        }
        let room = RENEWALS.saturating_sub(self.renewing.load(SeqCst));
        checked.more = due.len() > room;
        // Those that have waited longest come first.
        due.sort_unstable_by_key(|(since, _)| *since);
        for (_, place) in due.into_iter().take(room) {
            // The attempt may have ended since, or another may have its place.
            if let Some(Some(beat)) = self.shard(place.shard).beats.get_mut(place.at)
                && beat.is_due(now)
            {
                beat.renewing = true;
                self.renewing.fetch_add(1, SeqCst);
                checked.due.push((place, Arc::clone(&beat.attempt)));
            }
        }
        checked
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
    beats: Vec<Option<Beat>>,
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
    pub(super) fn entry(&mut self, at: usize, attempt: &Arc<ActiveAttempt>) -> Option<&mut Beat> {
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
    /// Whether a renewal is due. Notes in `checked` whether the claim counts as lost, and when to check again.
    fn check(&mut self, now: Instant, checked: &mut Checked) -> bool {
        let mut lose = |reason| checked.lost.push((Arc::clone(&self.attempt), reason));
        let ends_at = self.ends_at();
        if ends_at <= now && self.next.take().is_some() {
            lose("the attempt lasts longer than max_attempt");
        }
        let Some(renewal) = self.next else { return false };
        let mut wakes = Some(ends_at);
        if !self.attempt.is_lost() {
            if self.lost_at() <= now {
                lose("the lease is about to end, and no heartbeat reached the store");
            } else {
                wakes = min(wakes, Some(self.lost_at()));
            }
        }
        if !self.renewing && renewal > now {
            wakes = min(wakes, Some(renewal));
        }
        checked.next = [checked.next, wakes].into_iter().flatten().min();
        self.is_due(now)
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.renewing && self.next.is_some_and(|next| next <= now)
    }

    /// When the claim counts as lost, if no renewal succeeds until then.
    fn lost_at(&self) -> Instant {
        let lease = self.attempt.claim.lease;
        self.renewed + lease - min(lease / 10, LONGEST_MARGIN)
    }

    fn ends_at(&self) -> Instant {
        self.attempt.claimed + self.attempt.engine.settings.max_attempt
    }
}
