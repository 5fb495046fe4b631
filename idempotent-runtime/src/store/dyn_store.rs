//! [`DynStore`]: any [`Store`] behind a pointer.

use std::time::SystemTime;

use bytes::Bytes;

use super::{
    Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome,
    SaveOutcome, Store, StoreKey, call::StoreCall,
};

/// [`Store`] behind a pointer; the methods are the same.
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

impl<S: Store> DynStore for S {
    fn claim<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ClaimOutcome> {
        StoreCall::pending(Store::claim(self, attempt), Store::answers_within(self))
    }

    fn renew<'a>(&'a self, attempt: &'a ClaimRequest, held: &'a Acquired) -> StoreCall<'a, RenewOutcome> {
        StoreCall::pending(Store::renew(self, attempt, held), Store::answers_within(self))
    }

    fn complete<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, record: Bytes) -> StoreCall<'a, CompleteOutcome> {
        StoreCall::pending(Store::complete(self, attempt, fence, record), Store::answers_within(self))
    }

    fn replace<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, record: Bytes) -> StoreCall<'a, CompleteOutcome> {
        StoreCall::pending(Store::replace(self, attempt, fence, record), Store::answers_within(self))
    }

    fn save_steps<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, steps: Bytes) -> StoreCall<'a, SaveOutcome> {
        StoreCall::pending(Store::save_steps(self, attempt, fence, steps), Store::answers_within(self))
    }

    fn release<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ReleaseOutcome> {
        StoreCall::pending(Store::release(self, attempt), Store::answers_within(self))
    }

    fn abandon<'a>(&'a self, attempt: &'a ClaimRequest) -> StoreCall<'a, ReleaseOutcome> {
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

    fn for_heartbeats(&self) -> Option<Box<dyn DynStore>> {
        Store::for_heartbeats(self).map(|store| Box::new(store) as Box<dyn DynStore>)
    }

    #[cfg(feature = "encryption")]
    fn answers_within(&self) -> Option<std::time::Duration> {
        Store::answers_within(self)
    }
}
