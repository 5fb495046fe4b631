//! [`DynStore`]: any [`Claims`] behind a pointer.

use std::time::SystemTime;

use bytes::Bytes;

use super::{
    Acquired, ClaimOutcome, ClaimRequest, Claims, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome,
    SaveOutcome, StoreKey, call::StoreCall,
};

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
