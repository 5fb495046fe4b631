//! [`StoreHandle`]: one type for all stores, so that one engine works with each of them.

use std::{any::Any, time::SystemTime};

use bytes::Bytes;

use super::{
    Acquired, Attempt, ClaimOutcome, CompleteOutcome, ForgetOutcome, Lookup, MemoryStore, ReleaseOutcome, RenewOutcome,
    SaveOutcome, Store, StoreError, StoreKey, call::StoreCall,
};
use crate::telemetry::{StoreMetrics, StoreOperation};

/// The service's store. The methods are those of [`Store`].
pub(crate) struct StoreHandle {
    kind: Kind,
    metrics: StoreMetrics,
}

/// The memory store answers without a future. Every other store is behind a pointer.
enum Kind {
    Memory(MemoryStore),
    Other(Box<dyn DynStore>),
}

/// Calls the store, and measures the call.
macro_rules! call {
    ($handle:expr, $operation:ident, $memory:ident($($of_memory:expr),*), $method:ident($($argument:expr),*)) => {
        match &$handle.kind {
            Kind::Memory(memory) => {
                let call = $handle.metrics.begin(StoreOperation::$operation);
                let answer = memory.$memory($($of_memory),*);
                call.end(label(&answer));
                StoreCall::Ready(answer)
            }
            Kind::Other(store) => $handle.measured(StoreOperation::$operation, store.$method($($argument),*)),
        }
    };
}

impl StoreHandle {
    pub(crate) fn new<S: Store>(store: S) -> Self {
        let mut store = Some(store);
        let kind = match (&mut store as &mut dyn Any).downcast_mut::<Option<MemoryStore>>().and_then(Option::take) {
            Some(memory) => Kind::Memory(memory),
            None => match store {
                Some(other) => Kind::Other(Box::new(other)),
                // Never reached, because only the memory store is taken out.
                None => Kind::Memory(MemoryStore::new()),
            },
        };
        Self { kind, metrics: StoreMetrics::default() }
    }

    /// The same store, with everything encrypted before the store gets it.
    #[cfg(feature = "encryption")]
    pub(crate) fn sealed(self, keys: crate::EncryptionKeys) -> Self {
        let store = match self.kind {
            Kind::Memory(memory) => Box::new(memory),
            Kind::Other(store) => store,
        };
        Self { kind: Kind::Other(Box::new(super::sealed::SealedStore { store, keys })), ..self }
    }

    pub(crate) fn claim<'a>(&'a self, attempt: &'a Attempt) -> StoreCall<'a, ClaimOutcome> {
        call!(self, Claim, claim_now(attempt), claim(attempt))
    }

    pub(crate) fn renew<'a>(&'a self, attempt: &'a Attempt, held: &'a Acquired) -> StoreCall<'a, RenewOutcome> {
        call!(self, Renew, renew_now(attempt, held), renew(attempt, held))
    }

    pub(crate) fn complete<'a>(
        &'a self,
        attempt: &'a Attempt,
        fence: u64,
        record: Bytes,
    ) -> StoreCall<'a, CompleteOutcome> {
        call!(self, Complete, complete_now(attempt, fence, record), complete(attempt, fence, record))
    }

    pub(crate) fn replace<'a>(
        &'a self,
        attempt: &'a Attempt,
        fence: u64,
        record: Bytes,
    ) -> StoreCall<'a, CompleteOutcome> {
        call!(self, Replace, replace_now(attempt, record), replace(attempt, fence, record))
    }

    pub(crate) fn save_steps<'a>(
        &'a self,
        attempt: &'a Attempt,
        fence: u64,
        steps: Bytes,
    ) -> StoreCall<'a, SaveOutcome> {
        call!(self, SaveSteps, save_steps_now(attempt, fence, steps), save_steps(attempt, fence, steps))
    }

    pub(crate) fn release<'a>(&'a self, attempt: &'a Attempt) -> StoreCall<'a, ReleaseOutcome> {
        call!(self, Release, release_now(attempt), release(attempt))
    }

    pub(crate) fn abandon<'a>(&'a self, attempt: &'a Attempt) -> StoreCall<'a, ReleaseOutcome> {
        call!(self, Abandon, abandon_now(attempt), abandon(attempt))
    }

    pub(crate) fn lookup<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, Lookup> {
        call!(self, Lookup, lookup_now(key), lookup(key))
    }

    pub(crate) fn forget<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, ForgetOutcome> {
        call!(self, Forget, forget_now(key), forget(key))
    }

    pub(crate) fn now(&self) -> StoreCall<'_, SystemTime> {
        call!(self, Now, wall_clock(), now())
    }

    pub(crate) fn is_shared(&self) -> bool {
        match &self.kind {
            Kind::Memory(_) => false,
            Kind::Other(store) => store.is_shared(),
        }
    }

    fn measured<'a, T: Send + 'a>(&'a self, operation: StoreOperation, call: StoreCall<'a, T>) -> StoreCall<'a, T> {
        if !StoreMetrics::ENABLED {
            return call;
        }
        let StoreCall::Pending { call, answers_within } = call else { return call };
        let measured = self.metrics.begin(operation);
        let call = async move {
            let answer = call.await;
            measured.end(label(&answer));
            answer
        };
        StoreCall::pending(call, answers_within)
    }
}

/// The `result` label of a call's duration.
fn label<T>(answer: &Result<T, StoreError>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(error) => error.label(),
    }
}

/// [`Store`] behind a pointer; the methods are the same.
pub(super) trait DynStore: Send + Sync + 'static {
    fn claim<'a>(&'a self, attempt: &'a Attempt) -> StoreCall<'a, ClaimOutcome>;
    fn renew<'a>(&'a self, attempt: &'a Attempt, held: &'a Acquired) -> StoreCall<'a, RenewOutcome>;
    fn complete<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: Bytes) -> StoreCall<'a, CompleteOutcome>;
    fn replace<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: Bytes) -> StoreCall<'a, CompleteOutcome>;
    fn save_steps<'a>(&'a self, attempt: &'a Attempt, fence: u64, steps: Bytes) -> StoreCall<'a, SaveOutcome>;
    fn release<'a>(&'a self, attempt: &'a Attempt) -> StoreCall<'a, ReleaseOutcome>;
    fn abandon<'a>(&'a self, attempt: &'a Attempt) -> StoreCall<'a, ReleaseOutcome>;
    fn lookup<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, Lookup>;
    fn forget<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, ForgetOutcome>;
    fn now(&self) -> StoreCall<'_, SystemTime>;
    fn is_shared(&self) -> bool;
    // For a store around this one.
    #[cfg(feature = "encryption")]
    fn answers_within(&self) -> Option<std::time::Duration>;
}

impl<S: Store> DynStore for S {
    fn claim<'a>(&'a self, attempt: &'a Attempt) -> StoreCall<'a, ClaimOutcome> {
        StoreCall::pending(Store::claim(self, attempt), Store::answers_within(self))
    }

    fn renew<'a>(&'a self, attempt: &'a Attempt, held: &'a Acquired) -> StoreCall<'a, RenewOutcome> {
        StoreCall::pending(Store::renew(self, attempt, held), Store::answers_within(self))
    }

    fn complete<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: Bytes) -> StoreCall<'a, CompleteOutcome> {
        StoreCall::pending(Store::complete(self, attempt, fence, record), Store::answers_within(self))
    }

    fn replace<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: Bytes) -> StoreCall<'a, CompleteOutcome> {
        StoreCall::pending(Store::replace(self, attempt, fence, record), Store::answers_within(self))
    }

    fn save_steps<'a>(&'a self, attempt: &'a Attempt, fence: u64, steps: Bytes) -> StoreCall<'a, SaveOutcome> {
        StoreCall::pending(Store::save_steps(self, attempt, fence, steps), Store::answers_within(self))
    }

    fn release<'a>(&'a self, attempt: &'a Attempt) -> StoreCall<'a, ReleaseOutcome> {
        StoreCall::pending(Store::release(self, attempt), Store::answers_within(self))
    }

    fn abandon<'a>(&'a self, attempt: &'a Attempt) -> StoreCall<'a, ReleaseOutcome> {
        StoreCall::pending(Store::abandon(self, attempt), Store::answers_within(self))
    }

    fn lookup<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, Lookup> {
        StoreCall::pending(Store::lookup(self, key), Store::answers_within(self))
    }

    fn forget<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, ForgetOutcome> {
        StoreCall::pending(Store::forget(self, key), Store::answers_within(self))
    }

    fn now(&self) -> StoreCall<'_, SystemTime> {
        StoreCall::pending(Store::now(self), Store::answers_within(self))
    }

    fn is_shared(&self) -> bool {
        Store::is_shared(self)
    }

    #[cfg(feature = "encryption")]
    fn answers_within(&self) -> Option<std::time::Duration> {
        Store::answers_within(self)
    }
}
