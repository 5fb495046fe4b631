//! Where claims live: the [`Store`] trait and what passes through it.
//!
//! A store knows claims, not HTTP. It keeps one record per [`StoreKey`]: either *running* (a lease held by a token) or
//! *done* (opaque bytes that the engine wrote). Every decision on time is made by the store's own clock, and every
//! change of a record compares the token that made the claim.
//!
//! [`MemoryStore`] is for one process, [`RedisStore`] for many, `SqlStore` for services with a database. A store of your own implements [`Store`] and goes
//! through the same conformance suite as ours (`idempotent_runtime::testing`, feature `testing`).

mod attempt;
mod call;
mod handle;
mod memory;
mod outcomes;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "encryption")]
mod sealed;
mod shared;
#[cfg(feature = "_sql")]
mod sql;

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

pub use attempt::{Attempt, Fingerprint, StoreKey, Token};
pub(crate) use call::StoreCall;
pub(crate) use handle::StoreHandle;
pub use memory::{MemoryStore, MemoryStoreBuilder, MemoryUsage};
pub use outcomes::{
    Acquired, ClaimOutcome, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome, SaveOutcome,
    StoreError,
};
#[cfg(feature = "redis")]
pub use redis::{RedisCredentials, RedisStore, RedisStoreBuilder, RedisStoreError};
#[cfg(feature = "_sql")]
pub(crate) use sql::Finished;
#[cfg(feature = "_sql")]
pub use sql::{SqlStore, SqlStoreError};

/// A place that keeps claims: atomic, persistent as far as its medium is, and with a clock of its own.
///
/// The engine puts a deadline on every call, repeats [`claim`](Store::claim) and [`complete`](Store::complete) with the
/// same token when an answer was lost, and never runs a handler on an error. An implementation owes it that
///
/// - a claim is atomic: of any number of concurrent attempts exactly one gets [`ClaimOutcome::Acquired`];
/// - a claim repeated with the same token is the same claim, with the same fence and the same `recovering`;
/// - [`complete`](Store::complete), [`renew`](Store::renew), [`release`](Store::release) and
///   [`abandon`](Store::abandon) change nothing when the record belongs to another token;
/// - a dropped future may or may not have had its effect, and nothing else.
pub trait Store: Send + Sync + 'static {
    /// Claims the attempt's key, takes it over from an attempt whose lease is over, or says what stands in the way.
    fn claim(&self, attempt: &Attempt) -> impl Future<Output = Result<ClaimOutcome, StoreError>> + Send;

    /// Starts the lease anew. Creates the claim again, as it was acquired, if the store lost it.
    fn renew(
        &self,
        attempt: &Attempt,
        held: &Acquired,
    ) -> impl Future<Output = Result<RenewOutcome, StoreError>> + Send;

    /// Replaces the running record by the finished one, which lives for [`Attempt::ttl`] from now.
    ///
    /// Stores it too when the key is absent; never overwrites another attempt's record.
    fn complete(
        &self,
        attempt: &Attempt,
        fence: u64,
        record: Bytes,
    ) -> impl Future<Output = Result<CompleteOutcome, StoreError>> + Send;

    /// Replaces the finished record that this attempt stored by another one, which lives for [`Attempt::ttl`] from now.
    ///
    /// The engine first stores that a response exists, without its body, when the body takes long to come, and then the
    /// whole response. [`CompleteOutcome::Lost`] and no change where the key holds no finished record of this token: it
    /// is absent, running, or another attempt's.
    ///
    /// A store that does not implement it refuses, and then such a response cannot be replayed.
    fn replace(
        &self,
        attempt: &Attempt,
        fence: u64,
        record: Bytes,
    ) -> impl Future<Output = Result<CompleteOutcome, StoreError>> + Send {
        let _ = (attempt, fence, record);
        async { Err(StoreError::Forbidden("this store cannot replace a record".into())) }
    }

    /// Keeps the values that the attempt's handler has saved, instead of those that it saved before, and starts no lease.
    ///
    /// From then on the claim counts as `recovering`: whatever ends it without a response, the next attempt gets the
    /// values back with [`Acquired::steps`]. Creates the claim again if the store lost it.
    ///
    /// A store that does not implement it refuses.
    fn save_steps(
        &self,
        attempt: &Attempt,
        fence: u64,
        steps: Bytes,
    ) -> impl Future<Output = Result<SaveOutcome, StoreError>> + Send {
        let _ = (attempt, fence, steps);
        async { Err(StoreError::Forbidden("this store cannot keep steps".into())) }
    }

    /// Frees the key: the next attempt claims it as if there had been none.
    ///
    /// A claim that was taken over from a dead attempt is [abandoned](Self::abandon) instead: what the dead one did is
    /// still unknown, and the next attempt has to be told so.
    fn release(&self, attempt: &Attempt) -> impl Future<Output = Result<ReleaseOutcome, StoreError>> + Send;

    /// Ends the lease now and keeps the record, so that the next attempt is told that this one died.
    fn abandon(&self, attempt: &Attempt) -> impl Future<Output = Result<ReleaseOutcome, StoreError>> + Send;

    /// Reads what is known of a key and changes nothing.
    fn lookup(&self, key: &StoreKey) -> impl Future<Output = Result<Lookup, StoreError>> + Send;

    /// The store's clock, by which time-stamped keys are judged. An estimate within a second is good enough.
    fn now(&self) -> impl Future<Output = Result<SystemTime, StoreError>> + Send;

    /// Forgets a key whatever its token, unless an attempt holds its lease. For people, by
    /// [`Idempotency::forget`](crate::Idempotency::forget); the engine never calls it.
    ///
    /// A store that does not implement it refuses.
    fn forget(&self, key: &StoreKey) -> impl Future<Output = Result<ForgetOutcome, StoreError>> + Send {
        let _ = key;
        async { Err(StoreError::Refused("this store cannot forget a key".into())) }
    }

    /// The time within which every call is answered, if the store sees to that itself. The engine then makes no timer of its
    /// own for a call to which it gives at least as long.
    ///
    /// `None`, which is the default: only the engine's timer ends a call.
    fn answers_within(&self) -> Option<Duration> {
        None
    }

    /// Whether other processes, of other services too, may keep their claims in the same place. A shared store with the
    /// default namespace is warned of at the start.
    fn is_shared(&self) -> bool {
        true
    }
}
