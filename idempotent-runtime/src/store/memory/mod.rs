//! [`MemoryStore`]: keeps claims and responses in the memory of this process.

mod budget;
mod clock;
mod record;
mod shard;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

pub use self::budget::MemoryUsage;
use self::{
    budget::Budget,
    clock::{Clock, Moment},
    shard::{Context, Shard},
};
use super::{Expect, Put, Seen, Store, StoreError, StoreKey, Swapped, count::count};
use crate::protocol::{Operation, State, Step};

/// The number of locks that the keys are spread over, so that requests rarely wait for each other.
const SHARDS: usize = 64;

/// Keeps claims and responses in memory. For one process, for tests, and for services whose restarts may forget.
///
/// Its size is limited in bytes: 256 MiB by default, which is about 400,000 responses of 200 bytes. When it is full, a
/// new claim is refused (the client gets 503) and no live record is dropped. A completion is always stored, because its
/// effect has happened. Expired records are dropped when new claims come. [`usage`](Self::usage) returns how full it
/// is. With the feature `metrics`, the gauges `idempotency_memory_bytes` and `idempotency_memory_records` show it.
///
/// It uses tokio's clock, so `tokio::time::pause` works in tests.
///
/// A restart forgets everything, so a retry after it runs again. Use another store if that matters.
///
/// ```
/// use idempotent_runtime::{Idempotency, MemoryStore};
///
/// let idempotency = Idempotency::new(MemoryStore::new());
/// let small = MemoryStore::builder().max_bytes(16 << 20).build();
/// ```
pub struct MemoryStore {
    shards: Vec<Slot>,
    hasher: RandomState,
    budget: Budget,
    clock: Clock,
}

/// A shard, and when its next record may expire. That moment can be read without the lock.
struct Slot {
    shard: Mutex<Shard>,
    next_expiry: AtomicU64,
}

impl Default for Slot {
    fn default() -> Self {
        Self { shard: Mutex::default(), next_expiry: AtomicU64::new(Moment::NEVER.as_micros()) }
    }
}

impl MemoryStore {
    /// A store with a limit of 256 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A store with limits of your own.
    #[must_use]
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder { max_records: usize::MAX, max_bytes: 256 << 20 }
    }

    /// How full it is.
    #[must_use]
    pub fn usage(&self) -> MemoryUsage {
        self.budget.usage()
    }

    /// Runs `step` on the shard of a key. The key is hashed once, for the choice of the shard and for the shard's
    /// table.
    fn on<T>(&self, key: &StoreKey, step: impl FnOnce(&mut Shard, Context<'_>) -> T) -> T {
        let context = self.context(self.hasher.hash_one(key.as_str()));
        self.slot(context.hash).on(|shard| step(shard, context))
    }

    fn context(&self, hash: u64) -> Context<'_> {
        Context { hash, now: self.clock.now(), budget: &self.budget, clock: &self.clock }
    }

    fn slot(&self, hash: u64) -> &Slot {
        // The table uses the lowest and the highest bits of the hash, so other bits choose the shard.
        let index = usize::try_from((hash >> 32) % SHARDS as u64).unwrap_or(0);
        // `index` is below SHARDS, so the shard exists.
        #[allow(clippy::indexing_slicing)]
        &self.shards[index]
    }

    /// Drops everything that has expired. Shards without an expired record are not locked.
    fn sweep(&self, context: Context<'_>) {
        for slot in &self.shards {
            if Moment::from_micros(slot.next_expiry.load(Relaxed)) <= context.now {
                slot.on(|shard| shard.expire(usize::MAX, context));
            }
        }
    }
}

impl Slot {
    /// Runs one step on the shard, which may add a record.
    fn on<T>(&self, step: impl FnOnce(&mut Shard) -> T) -> T {
        let mut shard = self.lock();
        let answer = step(&mut shard);
        self.next_expiry.store(shard.next_expiry().as_micros(), Relaxed);
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Shard> {
        // A shard's code is short and cannot panic half-way, so a poisoned lock can be used.
        self.shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStore {
    /// Carries out an operation of the protocol under the lock of its key. It answers at once.
    pub(crate) fn run<O: Operation>(&self, mut operation: O) -> Result<O::Outcome, StoreError> {
        let context = self.context(self.hasher.hash_one(operation.key().as_str()));
        let slot = self.slot(context.hash);
        let mut run = || slot.on(|shard| shard.run(&mut operation, context));
        // The shard is no longer locked here, because the sweep may lock it.
        match run() {
            Err(StoreError::Full(_)) => {
                self.sweep(context);
                run()
            }
            answer => answer,
        }
    }

    /// The wall clock, by which keys with a time stamp are judged.
    pub(crate) fn wall_clock(&self) -> SystemTime {
        self.clock.wall()
    }
}

impl Shard {
    /// Carries out an operation, while nobody else can.
    fn run<O: Operation>(&mut self, operation: &mut O, context: Context<'_>) -> Result<O::Outcome, StoreError> {
        let mut step = self.first(operation, context);
        loop {
            step = match step {
                Step::Answer(answer) => return answer,
                Step::Read => {
                    let seen = self.read(operation.key(), context);
                    operation.met(seen, None, count)
                }
                Step::Clock => operation.clock(context.clock.wall(), count),
                Step::Swap(expect, put) => {
                    let swapped = self.swap(operation.key(), &expect, put, context);
                    operation.swapped(swapped, count)
                }
            };
        }
    }

    /// The first step of an operation, with one look-up: the record is read, and what follows is written over it.
    fn first<O: Operation>(&mut self, operation: &mut O, context: Context<'_>) -> Step<O::Outcome> {
        let Some(record) = self.any(operation.key(), context) else {
            return match operation.met(Seen::Absent, None, count) {
                Step::Swap(Expect::Absent, put) if put.not_after.is_none() && put.head.state != State::Freed => {
                    match self.insert(operation.key(), put, context) {
                        Ok(fence) => operation.written(fence),
                        Err(error) => Step::Answer(Err(error)),
                    }
                }
                step => step,
            };
        };
        if record.expires <= context.now {
            return operation.met(Seen::Absent, None, count);
        }
        match operation.met(record.seen(context.now), None, count) {
            Step::Swap(expect, put) if expect.allows_stamp(record.stamp()) && put.head.state != State::Freed => {
                let fence = put.head.fence;
                record.write(put, context.now, context.budget);
                operation.written(fence)
            }
            step => step,
        }
    }
}

impl Store for MemoryStore {
    async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        Ok(self.on(key, |shard, context| shard.read(key, context)))
    }

    async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        let swap = || self.on(key, |shard, context| shard.swap(key, expect, put.clone(), context));
        match swap() {
            Swapped::Refused(_, StoreError::Full(_)) => {
                self.sweep(self.context(0));
                Ok(swap())
            }
            answer => Ok(answer),
        }
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        Ok(self.wall_clock())
    }

    fn is_shared(&self) -> bool {
        false
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

/// The limits of a [`MemoryStore`].
#[derive(Clone, Debug)]
pub struct MemoryStoreBuilder {
    max_records: usize,
    max_bytes: usize,
}

impl MemoryStoreBuilder {
    /// The greatest number of keys. Default: as many as fit into [`max_bytes`](Self::max_bytes).
    #[must_use]
    pub fn max_records(mut self, records: usize) -> Self {
        self.max_records = records;
        self
    }

    /// How many bytes of keys and responses may be kept. A new claim beyond it is refused. Default: 256 MiB.
    ///
    /// The store's own indexes are included. Completions of running claims are always stored, so the limit may be
    /// exceeded by the requests in flight.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The store.
    #[must_use]
    pub fn build(self) -> MemoryStore {
        MemoryStore {
            shards: (0..SHARDS).map(|_| Slot::default()).collect(),
            hasher: RandomState::new(),
            budget: Budget::new(self.max_records, self.max_bytes),
            clock: Clock::start(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;
    use crate::protocol::{Claim, Complete};
    use crate::store::{ClaimOutcome, ClaimRequest, Fingerprint};

    fn attempt(number: usize) -> ClaimRequest {
        ClaimRequest::new(StoreKey::new(format!("k{number}")), Fingerprint::from_bytes([1; 32]))
    }

    fn shard_of(store: &MemoryStore, attempt: &ClaimRequest) -> *const Slot {
        store.slot(store.hasher.hash_one(attempt.key.as_str()))
    }

    #[test]
    fn a_claim_that_is_refused_for_lack_of_room_waits_for_no_other_shard() {
        let store = MemoryStore::builder().max_records(200).build();
        for number in 0..200 {
            assert!(matches!(store.run(Claim::new(&attempt(number))), Ok(ClaimOutcome::Acquired(_))));
        }
        let late = attempt(200);
        let own = shard_of(&store, &late);
        let others = store.shards.iter().filter(|&slot| !std::ptr::eq(slot, own)).map(Slot::lock);
        let others: Vec<_> = others.collect();
        assert_eq!(others.len(), SHARDS - 1);
        let (tell, told) = mpsc::channel();
        let (store, late) = (&store, &late);
        thread::scope(|threads| {
            threads.spawn(move || tell.send(store.run(Claim::new(late))));
            let answer = told.recv_timeout(Duration::from_secs(20));
            drop(others);
            assert!(matches!(answer, Ok(Err(StoreError::Full(_)))), "{answer:?}");
        });
    }

    /// An attempt at a key of another shard.
    fn elsewhere(store: &MemoryStore, first: &ClaimRequest) -> ClaimRequest {
        let own = shard_of(store, first);
        (1..10_000).map(attempt).find(|other| shard_of(store, other) != own).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_store_makes_room_by_what_has_expired_in_any_shard() {
        let store = MemoryStore::builder().max_records(1).build();
        let first = attempt(0);
        let second = elsewhere(&store, &first);
        assert!(matches!(store.run(Claim::new(&first)), Ok(ClaimOutcome::Acquired(_))));
        assert!(matches!(store.run(Claim::new(&second)), Err(StoreError::Full(_))));
        tokio::time::advance(first.retention()).await;
        assert!(matches!(store.run(Claim::new(&second)), Ok(ClaimOutcome::Acquired(_))));
        assert_eq!(store.usage().records, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_completion_added_makes_room_as_well_when_it_has_expired() {
        let store = MemoryStore::builder().max_records(1).build();
        let first = attempt(0);
        let second = elsewhere(&store, &first);
        // Its claim was lost.
        store.run(Complete::new(&first, 1, "record".into())).unwrap();
        assert!(matches!(store.run(Claim::new(&second)), Err(StoreError::Full(_))));
        tokio::time::advance(first.ttl).await;
        assert!(matches!(store.run(Claim::new(&second)), Ok(ClaimOutcome::Acquired(_))));
    }
}
