//! [`StoreHandle`]: one type for all stores, so that one engine works with each of them.

use std::{any::Any, time::SystemTime};

use bytes::Bytes;

use super::{
    Acquired, ClaimOutcome, ClaimRequest, Claims, CompleteOutcome, ForgetOutcome, Lookup, MemoryStore, ReleaseOutcome,
    RenewOutcome, SaveOutcome, StoreError, StoreKey, claims::DynStore, deadline::StoreCall,
};
use crate::{
    protocol::{Claim, Complete, End, Forget, Keep, Look, Replace},
    telemetry::{StoreMetrics, StoreOperation},
};

/// The service's store. The methods are those of [`Claims`].
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
    ($handle:expr, $operation:ident, $machine:expr, $method:ident($($argument:expr),*)) => {
        match &$handle.kind {
            Kind::Memory(memory) => {
                let call = $handle.metrics.begin(StoreOperation::$operation);
                let answer = memory.run($machine).map(Into::into);
                call.end(label(&answer));
                StoreCall::Ready(answer)
            }
            Kind::Other(store) => $handle.measured(StoreOperation::$operation, store.$method($($argument),*)),
        }
    };
}

impl StoreHandle {
    pub(crate) fn new<S: Claims>(store: S) -> Self {
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
    pub(crate) fn sealed(self, keys: crate::store::sealing::EncryptionKeys) -> Self {
        let store = match self.kind {
            Kind::Memory(memory) => Box::new(memory),
            Kind::Other(store) => store,
        };
        Self { kind: Kind::Other(Box::new(super::sealed::SealedStore { store, keys })), ..self }
    }

    pub(crate) fn claim<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ClaimOutcome> {
        call!(self, Claim, Claim::new(attempt), claim(attempt))
    }

    pub(crate) fn renew<'a>(&'a self, attempt: &'a ClaimRequest, held: &'a Acquired) -> StoreCall<'a, RenewOutcome> {
        call!(self, Renew, Keep::renew(attempt, held.clone()), renew(attempt, held))
    }

    pub(crate) fn complete<'a>(
        &'a self,
        attempt: &'a ClaimRequest,
        fence: u64,
        record: Bytes,
    ) -> StoreCall<'a, CompleteOutcome> {
        call!(self, Complete, Complete::new(attempt, fence, record), complete(attempt, fence, record))
    }

    pub(crate) fn replace<'a>(
        &'a self,
        attempt: &'a ClaimRequest,
        fence: u64,
        record: Bytes,
    ) -> StoreCall<'a, CompleteOutcome> {
        call!(self, Replace, Replace::new(attempt, fence, record), replace(attempt, fence, record))
    }

    pub(crate) fn save_steps<'a>(
        &'a self,
        attempt: &'a ClaimRequest,
        fence: u64,
        steps: Bytes,
    ) -> StoreCall<'a, SaveOutcome> {
        call!(self, SaveSteps, Keep::save(attempt, fence, steps), save_steps(attempt, fence, steps))
    }

    pub(crate) fn release<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ReleaseOutcome> {
        call!(self, Release, End::release(attempt, attempt.fence), release(attempt))
    }

    pub(crate) fn abandon<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ReleaseOutcome> {
        call!(self, Abandon, End::abandon(attempt), abandon(attempt))
    }

    pub(crate) fn lookup<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, Lookup> {
        call!(self, Lookup, Look(key), lookup(key))
    }

    pub(crate) fn forget<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, ForgetOutcome> {
        call!(self, Forget, Forget::new(key), forget(key))
    }

    pub(crate) fn now(&self) -> StoreCall<'_, SystemTime> {
        match &self.kind {
            Kind::Memory(memory) => StoreCall::Ready(Ok(memory.wall_clock())),
            Kind::Other(store) => self.measured(StoreOperation::Now, store.now()),
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        match &self.kind {
            Kind::Memory(_) => false,
            Kind::Other(store) => store.is_shared(),
        }
    }

    /// [`Claims::for_heartbeats`].
    pub(crate) fn for_heartbeats(&self) -> Option<Self> {
        match &self.kind {
            Kind::Memory(_) => None,
            Kind::Other(store) => {
                Some(Self { kind: Kind::Other(store.for_heartbeats()?), metrics: StoreMetrics::default() })
            }
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
