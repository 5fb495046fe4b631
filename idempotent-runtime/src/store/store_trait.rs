//! The trait [`Store`].

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use super::{Expect, Put, Seen, StoreError, StoreKey, Swapped};

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
