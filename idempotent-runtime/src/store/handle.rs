//! [`StoreHandle`]: one type for all stores, so that one engine works with each of them.

use std::time::SystemTime;

#[cfg(feature = "redis")]
use super::RedisStore;
#[cfg(feature = "testing")]
use super::{BoxFuture, ClaimRequest};
use super::{Claims, MemoryStore, Store, StoreError, claims::run, deadline::StoreCall};
#[cfg(feature = "encryption")]
use super::{sealed::Sealed, sealing::EncryptionKeys};
use crate::{
    protocol::Operation,
    telemetry::{StoreMetrics, StoreOperation},
};

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
#[allow(unreachable_pub, missing_debug_implementations)] // a hidden method names it
pub enum AnyStore {
    /// It answers without a future.
    Memory(MemoryStore),
    #[cfg(feature = "redis")]
    Redis(RedisStore),
    Other(Box<dyn super::store_trait::BoxedStore>),
}

/// Does the same with a store of any type.
macro_rules! on {
    ($any:expr, $store:ident => $call:expr) => {
        match $any {
            AnyStore::Memory($store) => $call,
            #[cfg(feature = "redis")]
            AnyStore::Redis($store) => $call,
            AnyStore::Other($store) => $call,
        }
    };
}

/// What a test puts in front of a store, to make single operations fail.
#[cfg(feature = "testing")]
pub trait Faults: Send + Sync + 'static {
    /// A key is to be claimed.
    fn claims(&self, request: &ClaimRequest);

    /// Carries out an operation, or does something else.
    fn call<'a>(
        &'a self,
        kind: StoreOperation,
        call: BoxFuture<'a, Result<(), StoreError>>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

impl StoreHandle {
    pub(crate) fn new(store: AnyStore) -> Self {
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
        Self { faults: Some(Box::new(faults)), ..Self::new(AnyStore::Other(Box::new(store))) }
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
        on!(&self.store, store => store.is_shared())
    }

    /// [`Store::for_heartbeats`].
    pub(crate) fn for_heartbeats(&self) -> Option<Self> {
        #[cfg(feature = "testing")]
        if self.faults.is_some() {
            return None;
        }
        let own = on!(&self.store, store => store.for_heartbeats()?.into_any());
        Some(Self {
            #[cfg(feature = "encryption")]
            keys: self.keys.clone(),
            ..Self::new(own)
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

/// A call that a test may make fail.
#[cfg(feature = "testing")]
async fn failing<T: Send>(
    faults: &dyn Faults,
    kind: StoreOperation,
    call: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    let mut answer = None;
    let call = async {
        answer = Some(call.await?);
        Ok(())
    };
    faults.call(kind, Box::pin(call)).await?;
    // The test may only have said that the call was carried out.
    answer.ok_or(StoreError::Timeout)
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
