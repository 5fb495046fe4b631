//! [`TestStore`]: a memory store whose faults a test chooses.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::store::{Expect, MemoryStore, Put, Seen, Store, StoreError, StoreKey, Swapped, Token};

/// A memory store for the tests of a service: a test can make it unreachable, and can let attempts die.
///
/// Clones are the same store.
///
/// ```
/// use idempotent_runtime::{Claim, Idempotency, Outcome, testing::TestStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = TestStore::new();
/// let idempotency = Idempotency::new(store.clone());
/// // An operation gives a unit test its `Claim`.
/// let charge = || {
///     idempotency.operation("charge").key("order-1").run(async |claim: Claim| Ok::<bool, std::io::Error>(claim.recovering()))
/// };
///
/// store.begin_outage();
/// assert!(charge().await.is_err());
/// store.end_outage();
/// assert!(matches!(charge().await?, Outcome::Ran(false)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct TestStore(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    store: MemoryStore,
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    is_down: bool,
    /// The attempts that have written something.
    attempts: HashSet<Token>,
    dead: HashSet<Token>,
}

impl TestStore {
    /// An empty store without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every call fails from now on, until [`end_outage`](Self::end_outage).
    pub fn begin_outage(&self) {
        self.faults().is_down = true;
    }

    /// The store answers again, and knows what it knew.
    pub fn end_outage(&self) {
        self.faults().is_down = false;
    }

    /// All attempts that have begun are dead to the store, as if their processes had been killed: nothing that they
    /// write arrives, neither heartbeats nor responses.
    ///
    /// When the lease is over, the next attempt runs, and [`Claim::recovering`](crate::Claim::recovering) is true in it.
    /// The handler of a dead attempt goes on, as in a process that was frozen. Its
    /// [`Claim::lost`](crate::Claim::lost) completes shortly before the lease ends.
    pub fn kill_attempts(&self) {
        let faults = &mut *self.faults();
        faults.dead.clone_from(&faults.attempts);
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reached(&self) -> Result<MutexGuard<'_, Faults>, StoreError> {
        let faults = self.faults();
        if faults.is_down { Err(StoreError::Unreachable("the test's outage".into())) } else { Ok(faults) }
    }
}

impl Store for TestStore {
    async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        drop(self.reached()?);
        self.0.store.read(key).await
    }

    async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        let writer = put.head.stamp().token;
        {
            let mut faults = self.reached()?;
            if faults.dead.contains(&writer) {
                return Err(StoreError::Unreachable("the test killed this attempt".into()));
            }
            faults.attempts.insert(writer);
        }
        self.0.store.swap(key, expect, put).await
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        drop(self.reached()?);
        Store::now(&self.0.store).await
    }

    fn is_shared(&self) -> bool {
        false
    }
}
