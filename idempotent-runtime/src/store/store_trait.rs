//! The trait [`Store`], and stores behind a pointer.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{BoxFuture, Expect, Put, Seen, StoreError, StoreKey, Swapped};

/// Keeps one record for each key, and changes it only if it is what the caller expects. It has its own clock.
///
/// A store compares stamps and says how long a record is still kept. It knows nothing of leases, of attempts that died,
/// or of what a body means; those rules are in one place for all stores.
///
/// An implementation must guarantee that
///
/// - [`swap`](Self::swap) is atomic: it compares and writes in one step, for all processes that share the store;
/// - once a write was answered, every later read and swap sees it, or a later one;
/// - a record is kept until it expires, and is [`Seen::Absent`] from then on;
/// - a call whose future is dropped has its whole effect or none, at once or later.
///
/// The engine gives every call a deadline, and may repeat it: a swap that arrives twice or late is refused by what it
/// expects. It never runs a handler after an error.
pub trait Store: Send + Sync + 'static {
    /// The record of a key, with the time for which it is still kept.
    fn read(&self, key: &StoreKey) -> impl Future<Output = Result<Seen, StoreError>> + Send;

    /// Writes `put` if `expect` holds. Otherwise changes nothing and returns what is there. [`Put::over`] says what to
    /// write.
    fn swap(
        &self,
        key: &StoreKey,
        expect: &Expect,
        put: &Put,
    ) -> impl Future<Output = Result<Swapped, StoreError>> + Send;

    /// The store's clock: the one by which records expire. It may be wrong by a second.
    fn now(&self) -> impl Future<Output = Result<SystemTime, StoreError>> + Send;

    /// The time within which the store answers every call, if it keeps such a limit itself. If the engine allows a call at
    /// least as long, it makes no timer of its own for it.
    ///
    /// `None`, which is the default: only the engine's timer ends a call.
    fn answers_within(&self) -> Option<Duration> {
        None
    }

    /// The same store over its own connections, for the thread that renews leases. The engine asks for it once, in
    /// that thread, when the first lease is renewed. So a handler that blocks the threads on which the service's own
    /// connections are served, or holds all connections of a pool, does not keep a lease from being renewed.
    ///
    /// `None`, which is the default: leases are renewed by this store.
    fn for_heartbeats(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Whether other processes, perhaps of other services, may keep their claims in the same place. With a shared store
    /// and the default namespace, a warning is logged at start-up.
    fn is_shared(&self) -> bool {
        true
    }
}

/// Any [`Store`], behind a pointer.
#[allow(missing_docs, unreachable_pub)] // the methods are those of `Store`, and a hidden one names it
pub trait BoxedStore: Send + Sync + 'static {
    fn read<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<Seen, StoreError>>;
    fn swap<'a>(
        &'a self,
        key: &'a StoreKey,
        expect: &'a Expect,
        put: &'a Put,
    ) -> BoxFuture<'a, Result<Swapped, StoreError>>;
    fn now(&self) -> BoxFuture<'_, Result<SystemTime, StoreError>>;
    fn answers_within(&self) -> Option<Duration>;
    fn for_heartbeats(&self) -> Option<Box<dyn BoxedStore>>;
    fn is_shared(&self) -> bool;
}

impl<S: Store> BoxedStore for S {
    fn read<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<Seen, StoreError>> {
        Box::pin(Store::read(self, key))
    }

    fn swap<'a>(
        &'a self,
        key: &'a StoreKey,
        expect: &'a Expect,
        put: &'a Put,
    ) -> BoxFuture<'a, Result<Swapped, StoreError>> {
        Box::pin(Store::swap(self, key, expect, put))
    }

    fn now(&self) -> BoxFuture<'_, Result<SystemTime, StoreError>> {
        Box::pin(Store::now(self))
    }

    fn answers_within(&self) -> Option<Duration> {
        Store::answers_within(self)
    }

    fn for_heartbeats(&self) -> Option<Box<dyn BoxedStore>> {
        Store::for_heartbeats(self).map(|store| Box::new(store) as _)
    }

    fn is_shared(&self) -> bool {
        Store::is_shared(self)
    }
}

/// Implements [`Store`] for a pointer to a store.
macro_rules! behind_a_pointer {
    ([$($generics:tt)*] $pointer:ty, $inner:ident) => {
        impl<$($generics)*> Store for $pointer {
            async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
                $inner::read(&**self, key).await
            }

            async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
                $inner::swap(&**self, key, expect, put).await
            }

            async fn now(&self) -> Result<SystemTime, StoreError> {
                $inner::now(&**self).await
            }

            fn answers_within(&self) -> Option<Duration> {
                $inner::answers_within(&**self)
            }

            fn for_heartbeats(&self) -> Option<Self> {
                $inner::for_heartbeats(&**self).map(Into::into)
            }

            fn is_shared(&self) -> bool {
                $inner::is_shared(&**self)
            }
        }
    };
}

behind_a_pointer!([] Box<dyn BoxedStore>, BoxedStore);
// For a caller that also uses the store itself.
behind_a_pointer!([S: Store] Arc<S>, Store);
