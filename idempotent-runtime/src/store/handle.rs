//! [`StoreHandle`]: one type for all stores, so that one engine works with each of them.

use std::{any::Any, time::SystemTime};

use super::{
    Claims, MemoryStore, StoreError,
    deadline::StoreCall,
    dyn_store::{DynStore, carry_out},
};
#[cfg(feature = "encryption")]
use super::{sealed::Sealed, sealing::EncryptionKeys};
use crate::{
    protocol::Operation,
    telemetry::{StoreMetrics, StoreOperation},
};

/// The service's store.
pub(crate) struct StoreHandle {
    kind: Kind,
    /// Encrypt and decrypt what the store has.
    #[cfg(feature = "encryption")]
    keys: Option<EncryptionKeys>,
    metrics: StoreMetrics,
}

/// The memory store answers without a future. Every other store is behind a pointer.
enum Kind {
    Memory(MemoryStore),
    Other(Box<dyn DynStore>),
}

impl StoreHandle {
    pub(crate) fn new<S: DynStore>(store: S) -> Self {
        let mut store = Some(store);
        let kind = match (&mut store as &mut dyn Any).downcast_mut::<Option<MemoryStore>>().and_then(Option::take) {
            Some(memory) => Kind::Memory(memory),
            None => match store {
                Some(other) => Kind::Other(Box::new(other)),
                // Never reached, because only the memory store is taken out.
                None => Kind::Memory(MemoryStore::new()),
            },
        };
        Self {
            kind,
            #[cfg(feature = "encryption")]
            keys: None,
            metrics: StoreMetrics::default(),
        }
    }

    /// The same store, with everything encrypted before the store gets it.
    #[cfg(feature = "encryption")]
    pub(crate) fn sealed(self, keys: EncryptionKeys) -> Self {
        Self { keys: Some(keys), ..self }
    }

    pub(crate) fn now(&self) -> StoreCall<'_, SystemTime> {
        match &self.kind {
            Kind::Memory(memory) => StoreCall::Ready(Ok(memory.wall_clock())),
            Kind::Other(store) => self.measured(StoreOperation::Now, &**store, store.clock()),
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        match &self.kind {
            Kind::Memory(_) => false,
            Kind::Other(store) => store.shared(),
        }
    }

    /// [`Store::for_heartbeats`](super::Store::for_heartbeats).
    pub(crate) fn for_heartbeats(&self) -> Option<Self> {
        match &self.kind {
            Kind::Memory(_) => None,
            Kind::Other(store) => Some(Self {
                kind: Kind::Other(store.beside()?),
                #[cfg(feature = "encryption")]
                keys: self.keys.clone(),
                metrics: StoreMetrics::default(),
            }),
        }
    }

    fn call<'a, O, T>(&'a self, kind: StoreOperation, operation: O) -> StoreCall<'a, T>
    where
        O: Operation + Send + 'a,
        O::Outcome: Into<T> + Send,
        T: Send + 'a,
    {
        match &self.kind {
            Kind::Memory(memory) => {
                let call = self.metrics.begin(kind);
                let answer = memory.run(operation).map(Into::into);
                call.end(label(&answer));
                StoreCall::Ready(answer)
            }
            Kind::Other(store) => self.measured(kind, &**store, carry_out(&**store, kind, operation)),
        }
    }

    fn measured<'a, T: Send + 'a>(
        &'a self,
        kind: StoreOperation,
        store: &dyn DynStore,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> StoreCall<'a, T> {
        if !StoreMetrics::ENABLED {
            return StoreCall::pending(call, store.call_limit());
        }
        let measured = self.metrics.begin(kind);
        let call = async move {
            let answer = call.await;
            measured.end(label(&answer));
            answer
        };
        StoreCall::pending(call, store.call_limit())
    }
}

impl Claims for StoreHandle {
    type Call<'a, T: Send + 'a> = StoreCall<'a, T>;

    fn carry_out<'a, O, T>(&'a self, kind: StoreOperation, operation: O) -> StoreCall<'a, T>
    where
        O: Operation + Send + 'a,
        O::Outcome: Into<T> + Send,
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
