//! The trait [`Store`], which keeps the claims and the responses, and the types that it uses.
//!
//! A store knows claims, and nothing of HTTP. It keeps one record for each [`StoreKey`]. A record is either *running*
//! (a token holds a lease) or *done* (it holds bytes that the engine wrote). Whether a time has passed is decided by
//! the store's own clock. Every change of a record compares the token of the attempt that made the claim.
//!
//! [`MemoryStore`] is for one process, [`RedisStore`] for many, `SqlStore` for services with a database. To write a
//! store of your own, implement [`Store`] and test it with the conformance suite that our stores pass
//! (`idempotent_runtime::testing`, feature `testing`).

mod call;
mod dyn_store;
mod handle;
mod memory;
mod over_register;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod register;
pub(crate) mod run;
#[cfg(feature = "encryption")]
mod sealed;
#[cfg(feature = "encryption")]
pub(crate) mod sealing;
mod shared;
#[cfg(feature = "_sql")]
mod sql;

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

pub use crate::protocol::{
    Acquired, Change, ClaimOutcome, ClaimRequest, CompleteOutcome, Expect, Fingerprint, ForgetOutcome, Head, HeadBytes,
    Lookup, Put, ReleaseOutcome, RenewOutcome, SaveOutcome, Seen, Stamp, State, StoreError, StoreKey, Swapped, Token,
};
pub(crate) use call::StoreCall;
pub(crate) use handle::StoreHandle;
pub use memory::{MemoryStore, MemoryStoreBuilder, MemoryUsage};
#[cfg(feature = "redis")]
pub use redis::{RedisCredentials, RedisStore, RedisStoreBuilder, RedisStoreError};
pub use register::Register;
#[cfg(feature = "_sql")]
pub(crate) use run::count;
#[cfg(feature = "_sql")]
pub(crate) use sql::{RECOVERING, RUNNING};
#[cfg(feature = "_sql")]
pub use sql::{SqlStore, SqlStoreError};

/// Keeps claims and responses. It has a clock of its own.
///
/// The engine gives every call a deadline. If an answer was lost, it repeats [`claim`](Store::claim) and
/// [`complete`](Store::complete) with the same token. It never runs a handler after an error. An implementation must
/// guarantee that
///
/// - a claim is atomic: of any number of concurrent attempts, exactly one gets [`ClaimOutcome::Acquired`];
/// - a claim that is repeated with the same token is the same claim, with the same fence and the same `recovering`;
/// - [`complete`](Store::complete), [`renew`](Store::renew), [`release`](Store::release) and
///   [`abandon`](Store::abandon) change nothing if the record belongs to another token;
/// - a call whose future is dropped has its whole effect or none.
pub trait Store: Send + Sync + 'static {
    /// Claims the attempt's key, or takes it over from an attempt whose lease is over. Otherwise returns why that is
    /// not possible.
    fn claim(&self, attempt: &ClaimRequest) -> impl Future<Output = Result<ClaimOutcome, StoreError>> + Send;

    /// Starts the lease again. If the store has lost the claim, creates it again as it was acquired.
    fn renew(
        &self,
        attempt: &ClaimRequest,
        held: &Acquired,
    ) -> impl Future<Output = Result<RenewOutcome, StoreError>> + Send;

    /// Replaces the running record by the finished one, which is kept for [`ClaimRequest::ttl`] from now.
    ///
    /// If the key is absent, the record is stored too. A record of another attempt is never overwritten.
    fn complete(
        &self,
        attempt: &ClaimRequest,
        fence: u64,
        record: Bytes,
    ) -> impl Future<Output = Result<CompleteOutcome, StoreError>> + Send;

    /// Replaces the finished record of this attempt by another one, which is kept for [`ClaimRequest::ttl`] from now.
    ///
    /// The engine uses it for a response whose body takes long: it first stores a record without the body, and later
    /// the whole response. If the key holds no finished record of this token (it is absent, running, or another
    /// attempt's), nothing changes and the answer is [`CompleteOutcome::Lost`].
    ///
    /// The default implementation refuses. Such a response can then not be replayed.
    fn replace(
        &self,
        attempt: &ClaimRequest,
        fence: u64,
        record: Bytes,
    ) -> impl Future<Output = Result<CompleteOutcome, StoreError>> + Send {
        let _ = (attempt, fence, record);
        async { Err(StoreError::Forbidden("this store cannot replace a record".into())) }
    }

    /// Saves the values of the handler's steps, in place of those that were saved before. Does not renew the lease.
    ///
    /// From now on the claim counts as `recovering`. If it ends without a response, the next attempt gets the values in
    /// [`Acquired::steps`]. If the store has lost the claim, creates it again.
    ///
    /// The default implementation refuses.
    fn save_steps(
        &self,
        attempt: &ClaimRequest,
        fence: u64,
        steps: Bytes,
    ) -> impl Future<Output = Result<SaveOutcome, StoreError>> + Send {
        let _ = (attempt, fence, steps);
        async { Err(StoreError::Forbidden("this store cannot keep steps".into())) }
    }

    /// Frees the key. The next attempt is a first attempt.
    ///
    /// A claim that was taken over from a dead attempt is [abandoned](Self::abandon) instead, because the effects of
    /// the dead attempt are still unknown and the next attempt must be told so.
    fn release(&self, attempt: &ClaimRequest) -> impl Future<Output = Result<ReleaseOutcome, StoreError>> + Send;

    /// Ends the lease now and keeps the record. The next attempt is told that this one stopped without reporting a
    /// result.
    fn abandon(&self, attempt: &ClaimRequest) -> impl Future<Output = Result<ReleaseOutcome, StoreError>> + Send;

    /// Reads the record of a key and changes nothing.
    fn lookup(&self, key: &StoreKey) -> impl Future<Output = Result<Lookup, StoreError>> + Send;

    /// The store's clock, which keys with a time stamp are compared with. It may be wrong by a second.
    fn now(&self) -> impl Future<Output = Result<SystemTime, StoreError>> + Send;

    /// Deletes the record of a key, whatever its token, unless an attempt holds its lease. For people, by
    /// [`Idempotency::forget`](crate::Idempotency::forget). The engine never calls it.
    ///
    /// The default implementation refuses.
    fn forget(&self, key: &StoreKey) -> impl Future<Output = Result<ForgetOutcome, StoreError>> + Send {
        let _ = key;
        async { Err(StoreError::Refused("this store cannot forget a key".into())) }
    }

    /// The time within which the store answers every call, if it keeps such a limit itself. If the engine allows a call at
    /// least as long, it makes no timer of its own for it.
    ///
    /// `None`, which is the default: only the engine's timer ends a call.
    fn answers_within(&self) -> Option<Duration> {
        None
    }

    /// The same store over connections of its own, for the thread that renews leases. The engine asks for it once, in
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
