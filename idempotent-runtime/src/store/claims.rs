//! [`Claims`]: the operations of the protocol, on any store. [`DynStore`]: the same behind a pointer.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{
    Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome,
    SaveOutcome, Store, StoreError, StoreKey, deadline::StoreCall, run::run,
};
use crate::protocol::{Claim, Complete, End, Forget, Keep, Look, Replace};

/// Claims keys in a [`Store`]. Every store has these operations; none implements them.
///
/// The engine gives every call a deadline. If an answer was lost, it repeats [`claim`](Self::claim) and
/// [`complete`](Self::complete) with the same token. It never runs a handler after an error.
pub trait Claims: Send + Sync + 'static {
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
    fn replace(
        &self,
        attempt: &ClaimRequest,
        fence: u64,
        record: Bytes,
    ) -> impl Future<Output = Result<CompleteOutcome, StoreError>> + Send;

    /// Saves the values of the handler's steps, in place of those that were saved before. Does not renew the lease.
    ///
    /// From now on the claim counts as `recovering`. If it ends without a response, the next attempt gets the values in
    /// [`Acquired::steps`]. If the store has lost the claim, creates it again.
    fn save_steps(
        &self,
        attempt: &ClaimRequest,
        fence: u64,
        steps: Bytes,
    ) -> impl Future<Output = Result<SaveOutcome, StoreError>> + Send;

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
    fn clock(&self) -> impl Future<Output = Result<SystemTime, StoreError>> + Send;

    /// Deletes the record of a key, whatever its token, unless an attempt holds its lease. For people, by
    /// [`Idempotency::forget`](crate::Idempotency::forget). The engine never calls it.
    fn forget(&self, key: &StoreKey) -> impl Future<Output = Result<ForgetOutcome, StoreError>> + Send;

    /// The time within which the store answers every call, if it keeps such a limit itself. If the engine allows a call at
    /// least as long, it makes no timer of its own for it.
    ///
    /// `None`, which is the default: only the engine's timer ends a call.
    fn call_limit(&self) -> Option<Duration> {
        None
    }

    /// The same store over connections of its own, for the thread that renews leases. The engine asks for it once, in
    /// that thread, when the first lease is renewed. So a handler that blocks the threads on which the service's own
    /// connections are served, or holds all connections of a pool, does not keep a lease from being renewed.
    ///
    /// `None`, which is the default: leases are renewed by this store.
    fn beside(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Whether other processes, perhaps of other services, may keep their claims in the same place. With a shared store
    /// and the default namespace, a warning is logged at start-up.
    fn shared(&self) -> bool {
        true
    }
}

impl<S: Store> Claims for S {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimOutcome, StoreError> {
        run(self, Claim::new(request)).await
    }

    async fn renew(&self, request: &ClaimRequest, held: &Acquired) -> Result<RenewOutcome, StoreError> {
        Ok(run(self, Keep::renew(request, held.clone())).await?.into())
    }

    async fn complete(&self, request: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        run(self, Complete::new(request, fence, record)).await
    }

    async fn replace(&self, request: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        run(self, Replace::new(request, fence, record)).await
    }

    async fn save_steps(&self, request: &ClaimRequest, fence: u64, steps: Bytes) -> Result<SaveOutcome, StoreError> {
        Ok(run(self, Keep::save(request, fence, steps)).await?.into())
    }

    async fn release(&self, request: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        run(self, End::release(request, request.fence)).await
    }

    async fn abandon(&self, request: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        run(self, End::abandon(request)).await
    }

    async fn lookup(&self, key: &StoreKey) -> Result<Lookup, StoreError> {
        run(self, Look(key)).await
    }

    async fn clock(&self) -> Result<SystemTime, StoreError> {
        Store::now(self).await
    }

    async fn forget(&self, key: &StoreKey) -> Result<ForgetOutcome, StoreError> {
        run(self, Forget::new(key)).await
    }

    fn call_limit(&self) -> Option<Duration> {
        Store::answers_within(self)
    }

    fn beside(&self) -> Option<Self> {
        Store::for_heartbeats(self)
    }

    fn shared(&self) -> bool {
        Store::is_shared(self)
    }
}

/// [`Claims`] behind a pointer; the methods are the same.
pub(super) trait DynStore: Send + Sync + 'static {
    fn claim<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ClaimOutcome>;
    fn renew<'a>(&'a self, attempt: &'a ClaimRequest, held: &'a Acquired) -> StoreCall<'a, RenewOutcome>;
    fn complete<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, record: Bytes) -> StoreCall<'a, CompleteOutcome>;
    fn replace<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, record: Bytes) -> StoreCall<'a, CompleteOutcome>;
    fn save_steps<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, steps: Bytes) -> StoreCall<'a, SaveOutcome>;
    fn release<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ReleaseOutcome>;
    fn abandon<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ReleaseOutcome>;
    fn lookup<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, Lookup>;
    fn forget<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, ForgetOutcome>;
    fn now(&self) -> StoreCall<'_, SystemTime>;
    fn is_shared(&self) -> bool;
    fn for_heartbeats(&self) -> Option<Box<dyn DynStore>>;
    // For a store around this one.
    #[cfg(feature = "encryption")]
    fn answers_within(&self) -> Option<std::time::Duration>;
}

impl<S: Claims> DynStore for S {
    fn claim<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ClaimOutcome> {
        StoreCall::pending(Claims::claim(self, attempt), Claims::call_limit(self))
    }

    fn renew<'a>(&'a self, attempt: &'a ClaimRequest, held: &'a Acquired) -> StoreCall<'a, RenewOutcome> {
        StoreCall::pending(Claims::renew(self, attempt, held), Claims::call_limit(self))
    }

    fn complete<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, record: Bytes) -> StoreCall<'a, CompleteOutcome> {
        StoreCall::pending(Claims::complete(self, attempt, fence, record), Claims::call_limit(self))
    }

    fn replace<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, record: Bytes) -> StoreCall<'a, CompleteOutcome> {
        StoreCall::pending(Claims::replace(self, attempt, fence, record), Claims::call_limit(self))
    }

    fn save_steps<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, steps: Bytes) -> StoreCall<'a, SaveOutcome> {
        StoreCall::pending(Claims::save_steps(self, attempt, fence, steps), Claims::call_limit(self))
    }

    fn release<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ReleaseOutcome> {
        StoreCall::pending(Claims::release(self, attempt), Claims::call_limit(self))
    }

    fn abandon<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ReleaseOutcome> {
        StoreCall::pending(Claims::abandon(self, attempt), Claims::call_limit(self))
    }

    fn lookup<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, Lookup> {
        StoreCall::pending(Claims::lookup(self, key), Claims::call_limit(self))
    }

    fn forget<'a>(&'a self, key: &'a StoreKey) -> StoreCall<'a, ForgetOutcome> {
        StoreCall::pending(Claims::forget(self, key), Claims::call_limit(self))
    }

    fn now(&self) -> StoreCall<'_, SystemTime> {
        StoreCall::pending(Claims::clock(self), Claims::call_limit(self))
    }

    fn is_shared(&self) -> bool {
        Claims::shared(self)
    }

    fn for_heartbeats(&self) -> Option<Box<dyn DynStore>> {
        Claims::beside(self).map(|store| Box::new(store) as Box<dyn DynStore>)
    }

    #[cfg(feature = "encryption")]
    fn answers_within(&self) -> Option<std::time::Duration> {
        Claims::call_limit(self)
    }
}
