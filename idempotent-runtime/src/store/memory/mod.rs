//! [`MemoryStore`]: claims in this process, the embedded default.

mod shard;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::time::Instant;

use self::shard::{Budget, Shard};
use super::{
    Acquired, Attempt, ClaimOutcome, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome, Store,
    StoreError, StoreKey,
};

/// Keys are spread over so many locks, so that no key waits for another one's work.
const SHARDS: usize = 64;

/// Keeps claims and responses in memory: for one process, for tests, for services that run once.
///
/// It is bounded. When it is full a claim is refused (the client gets 503) and no live record is forgotten; a
/// completion always lands, since its effect has happened. What expired is dropped as new claims come. Time is tokio's,
/// so `tokio::time::pause` works in tests.
///
/// A restart forgets everything: a retry after it runs again. Use [`RedisStore`](crate::RedisStore) where that matters.
///
/// ```
/// use idempotent_runtime::{Idempotency, MemoryStore};
///
/// let idempotency = Idempotency::new(MemoryStore::new());
/// let small = MemoryStore::builder().max_records(1_000).max_bytes(16 << 20).build();
/// ```
pub struct MemoryStore {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    budget: Budget,
    clock: Clock,
}

impl MemoryStore {
    /// A store for 100,000 records and 256 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A store with limits of your own.
    #[must_use]
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder { max_records: 100_000, max_bytes: 256 << 20 }
    }

    fn shard(&self, key: &StoreKey) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        // `index` is below SHARDS, and there are SHARDS of them; a panic in a shard's short, pure code cannot happen, so
        // a poisoned lock holds good data.
        #[allow(clippy::indexing_slicing)]
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops everything that has expired, in every shard.
    fn sweep(&self, now: Instant) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).expire(now, usize::MAX, &self.budget);
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("budget", &self.budget).finish_non_exhaustive()
    }
}

/// The limits of a [`MemoryStore`].
#[derive(Clone, Debug)]
pub struct MemoryStoreBuilder {
    max_records: usize,
    max_bytes: usize,
}

impl MemoryStoreBuilder {
    /// How many keys may be known at once. Default: 100,000.
    #[must_use]
    pub fn max_records(mut self, records: usize) -> Self {
        self.max_records = records;
        self
    }

    /// How many bytes of keys and responses may be kept before new claims are refused. Default: 256 MiB.
    ///
    /// Completions of claims that are running already are let in, so it may be exceeded by what is in flight.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The store.
    #[must_use]
    pub fn build(self) -> MemoryStore {
        MemoryStore {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            budget: Budget::new(self.max_records, self.max_bytes),
            clock: Clock::start(),
        }
    }
}

impl Store for MemoryStore {
    async fn claim(&self, attempt: &Attempt) -> Result<ClaimOutcome, StoreError> {
        let now = Instant::now();
        let fence = self.clock.fence(now);
        // A statement of its own: in the `match` the shard would stay locked, and the sweep locks every shard.
        let answered = self.shard(&attempt.key).claim(attempt, fence, now, &self.budget);
        match answered {
            Err(StoreError::Full(_)) => {
                self.sweep(now);
                self.shard(&attempt.key).claim(attempt, fence, now, &self.budget)
            }
            answered => answered,
        }
    }

    async fn renew(&self, attempt: &Attempt, held: &Acquired) -> Result<RenewOutcome, StoreError> {
        self.shard(&attempt.key).renew(attempt, held, Instant::now(), &self.budget)
    }

    async fn complete(&self, attempt: &Attempt, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        Ok(self.shard(&attempt.key).complete(attempt, fence, record, Instant::now(), &self.budget))
    }

    async fn replace(&self, attempt: &Attempt, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        Ok(self.shard(&attempt.key).replace(attempt, fence, record, Instant::now(), &self.budget))
    }

    async fn release(&self, attempt: &Attempt) -> Result<ReleaseOutcome, StoreError> {
        Ok(self.shard(&attempt.key).release(attempt, Instant::now(), &self.budget))
    }

    async fn abandon(&self, attempt: &Attempt) -> Result<ReleaseOutcome, StoreError> {
        Ok(self.shard(&attempt.key).abandon(attempt, Instant::now()))
    }

    async fn lookup(&self, key: &StoreKey) -> Result<Lookup, StoreError> {
        Ok(self.shard(key).look(key, Instant::now()))
    }

    async fn forget(&self, key: &StoreKey) -> Result<ForgetOutcome, StoreError> {
        Ok(self.shard(key).forget_settled(key, Instant::now(), &self.budget))
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        Ok(SystemTime::UNIX_EPOCH + Duration::from_micros(self.clock.micros(Instant::now())))
    }
}

/// The wall clock once, at the start, and tokio's monotonic time since: it can be paused and never runs backwards.
struct Clock {
    started: Instant,
    at_start: Duration,
    last_fence: AtomicU64,
}

impl Clock {
    fn start() -> Self {
        let at_start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), at_start, last_fence: AtomicU64::new(0) }
    }

    fn micros(&self, now: Instant) -> u64 {
        let since_epoch = self.at_start.saturating_add(now.saturating_duration_since(self.started));
        u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
    }

    /// Larger than every fence before, also in the same microsecond and, by the wall clock, in an earlier process.
    fn fence(&self, now: Instant) -> u64 {
        let micros = self.micros(now);
        let grow = |last: u64| Some(micros.max(last.saturating_add(1)));
        self.last_fence.fetch_update(Relaxed, Relaxed, grow).map_or(micros, |last| micros.max(last.saturating_add(1)))
    }
}
