//! [`Claims`]: the operations of the protocol. [`StoreHandle`]: carries them out on whichever store a service has.

use std::{any::Any, future::Future, time::SystemTime};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

#[cfg(feature = "redis")]
use super::RedisStore;
#[cfg(feature = "testing")]
use super::faults::{Faults, failing};
use super::{
    Acquired, BoxFuture, ClaimOutcome, ClaimRequest, CompleteOutcome, ForgetOutcome, Lookup, MemoryStore,
    ReleaseOutcome, RenewOutcome, SaveOutcome, Store, StoreError, StoreKey, Swapped, count::count, deadline::StoreCall,
    store_trait,
};
#[cfg(feature = "encryption")]
use super::{sealed::Sealed, sealing::EncryptionKeys};
use crate::{
    protocol::{Claim, Complete, End, Forget, Keep, Look, Operation, Replace, Step},
    telemetry::{StoreMetrics, StoreOperation},
};

/// Claims keys in a [`Store`](super::Store). Every store has these operations; none implements them.
///
/// The engine gives every call a deadline. If an answer was lost, it repeats [`claim`](Self::claim) and
/// [`complete`](Self::complete) with the same token. It never runs a handler after an error.
pub trait Claims: Send + Sync {
    /// The answer to an operation, or its future.
    type Call<'a, T: Send + 'a>
    where
        Self: 'a;

    #[doc(hidden)]
    fn carry_out<'a, O, T>(&'a self, kind: StoreOperation, operation: O) -> Self::Call<'a, T>
    where
        O: Operation + 'a,
        O::Outcome: Into<T>,
        T: Send + 'a;

    /// Claims the attempt's key, or takes it over from an attempt whose lease is over. Otherwise returns why that is
    /// not possible.
    fn claim<'a>(&'a self, request: &'a ClaimRequest) -> Self::Call<'a, ClaimOutcome> {
        self.carry_out(StoreOperation::Claim, Claim::new(request))
    }

    /// Starts the lease again. If the store has lost the claim, creates it again as it was acquired.
    fn renew<'a>(&'a self, request: &'a ClaimRequest, held: &'a Acquired) -> Self::Call<'a, RenewOutcome> {
        self.carry_out(StoreOperation::Renew, Keep::renew(request, held.clone()))
    }

    /// Replaces the running record by the finished one, which is kept for [`ClaimRequest::ttl`] from now.
    ///
    /// If the key is absent, the record is stored too. A record of another attempt is never overwritten.
    fn complete<'a>(&'a self, request: &'a ClaimRequest, fence: u64, record: Bytes) -> Self::Call<'a, CompleteOutcome> {
        self.carry_out(StoreOperation::Complete, Complete::new(request, fence, record))
    }

    /// Replaces the finished record of this attempt by another one, which is kept for [`ClaimRequest::ttl`] from now.
    ///
    /// The engine uses it for a response whose body takes long: it first stores a record without the body, and later
    /// the whole response. If the key holds no finished record of this token (it is absent, running, or another
    /// attempt's), nothing changes and the answer is [`CompleteOutcome::Lost`].
    fn replace<'a>(&'a self, request: &'a ClaimRequest, fence: u64, record: Bytes) -> Self::Call<'a, CompleteOutcome> {
        self.carry_out(StoreOperation::Replace, Replace::new(request, fence, record))
    }

    /// Saves the values of the handler's steps, in place of those that were saved before. Does not renew the lease.
    ///
    /// From now on the claim counts as `recovering`. If it ends without a response, the next attempt gets the values in
    /// [`Acquired::steps`]. If the store has lost the claim, creates it again.
    fn save_steps<'a>(&'a self, request: &'a ClaimRequest, fence: u64, steps: Bytes) -> Self::Call<'a, SaveOutcome> {
        self.carry_out(StoreOperation::SaveSteps, Keep::save(request, fence, steps))
    }

    /// Frees the key. The next attempt is a first attempt.
    ///
    /// A claim that was taken over from a dead attempt is [abandoned](Self::abandon) instead, because the effects of
    /// the dead attempt are still unknown and the next attempt must be told.
    fn release<'a>(&'a self, request: &'a ClaimRequest) -> Self::Call<'a, ReleaseOutcome> {
        self.carry_out(StoreOperation::Release, End::release(request, request.fence))
    }

    /// Ends the lease now and keeps the record. The next attempt is told that this one stopped without reporting a
    /// result.
    fn abandon<'a>(&'a self, request: &'a ClaimRequest) -> Self::Call<'a, ReleaseOutcome> {
        self.carry_out(StoreOperation::Abandon, End::abandon(request))
    }

    /// Reads the record of a key and changes nothing.
    fn lookup<'a>(&'a self, key: &'a StoreKey) -> Self::Call<'a, Lookup> {
        self.carry_out(StoreOperation::Lookup, Look(key))
    }

    /// Deletes the record of a key, with any token, unless an attempt holds its lease. For people, by
    /// [`Idempotency::forget`](crate::Idempotency::forget). The engine never calls it.
    fn forget<'a>(&'a self, key: &'a StoreKey) -> Self::Call<'a, ForgetOutcome> {
        self.carry_out(StoreOperation::Forget, Forget::new(key))
    }
}

impl<S: Store> Claims for S {
    type Call<'a, T: Send + 'a> = BoxFuture<'a, Result<T, StoreError>>;

    fn carry_out<'a, O, T>(&'a self, _: StoreOperation, operation: O) -> Self::Call<'a, T>
    where
        O: Operation + 'a,
        O::Outcome: Into<T>,
        T: Send + 'a,
    {
        Box::pin(run(self, operation))
    }
}

/// The service's store.
pub(crate) struct StoreHandle {
    store: AnyStore,
    /// Encrypt and decrypt what the store has.
    #[cfg(feature = "encryption")]
    keys: Option<EncryptionKeys>,
    metrics: StoreMetrics,
    #[cfg(feature = "testing")]
    faults: Option<Box<dyn Faults>>,
}

/// A store of this crate, or any other one behind a pointer, which costs an allocation more for each call.
enum AnyStore {
    /// It answers without a future.
    Memory(MemoryStore),
    #[cfg(feature = "redis")]
    Redis(RedisStore),
    Other(Box<dyn store_trait::BoxedStore>),
}

impl AnyStore {
    fn new<S: Store>(store: S) -> Self {
        let mut store = Some(store);
        if let Some(memory) = taken(&mut store) {
            return Self::Memory(memory);
        }
        #[cfg(feature = "redis")]
        if let Some(redis) = taken(&mut store) {
            return Self::Redis(redis);
        }
        // It is still there, because it was neither.
        store.map_or_else(|| Self::Memory(MemoryStore::new()), |other| Self::Other(Box::new(other)))
    }
}

/// Takes a value out if it is of the type that is asked for.
fn taken<S: 'static, T: 'static>(value: &mut Option<S>) -> Option<T> {
    (value as &mut dyn Any).downcast_mut::<Option<T>>()?.take()
}

impl StoreHandle {
    pub(crate) fn new(store: impl Store) -> Self {
        Self::over(AnyStore::new(store))
    }

    fn over(store: AnyStore) -> Self {
        Self {
            store,
            #[cfg(feature = "encryption")]
            keys: None,
            metrics: StoreMetrics::default(),
            #[cfg(feature = "testing")]
            faults: None,
        }
    }

    /// A store with faults in front of it.
    #[cfg(feature = "testing")]
    pub(crate) fn failing(store: impl Store, faults: impl Faults) -> Self {
        Self { faults: Some(Box::new(faults)), ..Self::over(AnyStore::Other(Box::new(store))) }
    }

    /// The same store, with everything encrypted before the store gets it.
    #[cfg(feature = "encryption")]
    pub(crate) fn sealed(self, keys: EncryptionKeys) -> Self {
        Self { keys: Some(keys), ..self }
    }

    pub(crate) fn now(&self) -> StoreCall<'_, SystemTime> {
        match &self.store {
            AnyStore::Memory(memory) => StoreCall::Ready(Ok(memory.wall_clock())),
            #[cfg(feature = "redis")]
            AnyStore::Redis(redis) => self.pending(StoreOperation::Now, redis, RedisStore::now),
            AnyStore::Other(store) => self.pending(StoreOperation::Now, store, Store::now),
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        match &self.store {
            AnyStore::Memory(memory) => memory.is_shared(),
            #[cfg(feature = "redis")]
            AnyStore::Redis(redis) => redis.is_shared(),
            AnyStore::Other(store) => store.is_shared(),
        }
    }

    /// [`Store::for_heartbeats`].
    pub(crate) fn for_heartbeats(&self) -> Option<Self> {
        #[cfg(feature = "testing")]
        if self.faults.is_some() {
            return None;
        }
        let own = match &self.store {
            AnyStore::Memory(_) => return None,
            #[cfg(feature = "redis")]
            AnyStore::Redis(redis) => AnyStore::Redis(redis.for_heartbeats()?),
            AnyStore::Other(store) => AnyStore::Other(store_trait::BoxedStore::for_heartbeats(&**store)?),
        };
        Some(Self {
            #[cfg(feature = "encryption")]
            keys: self.keys.clone(),
            ..Self::over(own)
        })
    }

    fn call<'a, O, T>(&'a self, kind: StoreOperation, operation: O) -> StoreCall<'a, T>
    where
        O: Operation + 'a,
        O::Outcome: Into<T>,
        T: Send + 'a,
    {
        #[cfg(feature = "testing")]
        if let (Some(faults), Some(request)) = (&self.faults, operation.claims()) {
            faults.claims(request);
        }
        match &self.store {
            AnyStore::Memory(memory) => {
                let call = self.metrics.begin(kind);
                let answer = memory.run(operation).map(Into::into);
                call.end(label(&answer));
                StoreCall::Ready(answer)
            }
            #[cfg(feature = "redis")]
            AnyStore::Redis(redis) => self.pending(kind, redis, |redis| run(redis, operation)),
            AnyStore::Other(store) => self.pending(kind, store, |store| run(store, operation)),
        }
    }

    /// The call is made in the future, because one that is moved would be allocated twice.
    fn pending<'a, S, T, F>(
        &'a self,
        kind: StoreOperation,
        store: &'a S,
        call: impl FnOnce(&'a S) -> F + Send + 'a,
    ) -> StoreCall<'a, T>
    where
        S: Store,
        T: Send + 'a,
        F: Future<Output = Result<T, StoreError>> + Send + 'a,
    {
        let measured = self.metrics.begin(kind);
        let call = async move {
            #[cfg(feature = "testing")]
            let answer = match &self.faults {
                Some(faults) => Box::pin(failing(&**faults, kind, call(store))).await,
                None => call(store).await,
            };
            #[cfg(not(feature = "testing"))]
            let answer = call(store).await;
            measured.end(label(&answer));
            answer
        };
        StoreCall::pending(call, store.answers_within())
    }
}

impl Claims for StoreHandle {
    type Call<'a, T: Send + 'a> = StoreCall<'a, T>;

    fn carry_out<'a, O, T>(&'a self, kind: StoreOperation, operation: O) -> StoreCall<'a, T>
    where
        O: Operation + 'a,
        O::Outcome: Into<T>,
        T: Send + 'a,
    {
        #[cfg(feature = "encryption")]
        if let Some(keys) = &self.keys {
            return self.call(kind, Sealed { operation, keys });
        }
        self.call(kind, operation)
    }
}

/// The `result` label of a call's duration.
fn label<T>(answer: &Result<T, StoreError>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(error) => error.label(),
    }
}

/// Carries out an operation on a store. If the store ends every call within a limit, the whole operation ends within it.
///
/// Nearly every operation is one call. This future is allocated for each, so a further call is in a box of its own.
pub(super) async fn run<S, O, T>(store: &S, mut operation: O) -> Result<T, StoreError>
where
    S: Store,
    O: Operation,
    O::Outcome: Into<T>,
{
    let end = store.answers_within().map(|limit| Instant::now() + limit);
    let step = operation.begin(count);
    // The store itself ends the first call in time, so that needs no timer.
    let mut step = call(store, &mut operation, step).await?;
    loop {
        step = match step {
            Step::Answer(answer) => return answer.map(Into::into),
            step => Box::pin(by(end, call(store, &mut operation, step))).await?,
        };
    }
}

/// Calls the store as a step says, and returns the next step.
async fn call<S, O>(store: &S, operation: &mut O, step: Step<O::Outcome>) -> Result<Step<O::Outcome>, StoreError>
where
    S: Store,
    O: Operation,
{
    let swapped = match &step {
        Step::Answer(_) => return Ok(step),
        Step::Clock => return Ok(operation.clock(store.now().await?, count)),
        Step::Read => Swapped::Found(store.read(operation.key()).await?),
        Step::Swap(expect, put) => store.swap(operation.key(), expect, put).await?,
    };
    Ok(operation.swapped(swapped, count))
}

/// A call that ends by this moment.
async fn by<T>(end: Option<Instant>, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match end {
        Some(end) => timeout_at(end, call).await.unwrap_or(Err(StoreError::Timeout)),
        None => call.await,
    }
}
