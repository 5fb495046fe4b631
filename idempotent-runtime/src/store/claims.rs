//! [`Claims`]: the operations of the protocol, listed once for everything that carries them out.

use bytes::Bytes;

use super::{
    Acquired, BoxFuture, ClaimOutcome, ClaimRequest, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome,
    RenewOutcome, SaveOutcome, StoreError, StoreKey,
    dyn_store::{DynStore, carry_out},
};
use crate::{
    protocol::{Claim, Complete, End, Forget, Keep, Look, Operation, Replace},
    telemetry::StoreOperation,
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
        O: Operation + Send + 'a,
        O::Outcome: Into<T> + Send,
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

impl<S: DynStore + ?Sized> Claims for S {
    type Call<'a, T: Send + 'a> = BoxFuture<'a, Result<T, StoreError>>;

    fn carry_out<'a, O, T>(&'a self, kind: StoreOperation, operation: O) -> Self::Call<'a, T>
    where
        O: Operation + Send + 'a,
        O::Outcome: Into<T> + Send,
        T: Send + 'a,
    {
        Box::pin(carry_out(self, kind, operation))
    }
}
