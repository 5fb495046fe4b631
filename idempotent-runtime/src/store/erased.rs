//! The boxed twin of [`Store`], so that one engine serves every store.

use std::{future::Future, pin::Pin, time::SystemTime};

use bytes::Bytes;

use super::{
    Acquired, Attempt, ClaimOutcome, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome, SaveOutcome,
    Store, StoreError, StoreKey,
};
use crate::telemetry;

type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// [`Store`] behind a pointer; the methods are the same.
pub(crate) trait DynStore: Send + Sync + 'static {
    fn claim<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, ClaimOutcome>;
    fn renew<'a>(&'a self, attempt: &'a Attempt, held: &'a Acquired) -> Call<'a, RenewOutcome>;
    fn complete<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: Bytes) -> Call<'a, CompleteOutcome>;
    fn replace<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: Bytes) -> Call<'a, CompleteOutcome>;
    fn save_steps<'a>(&'a self, attempt: &'a Attempt, fence: u64, steps: Bytes) -> Call<'a, SaveOutcome>;
    fn release<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, ReleaseOutcome>;
    fn abandon<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, ReleaseOutcome>;
    fn lookup<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Lookup>;
    fn now(&self) -> Call<'_, SystemTime>;
    fn forget<'a>(&'a self, key: &'a StoreKey) -> Call<'a, ForgetOutcome>;
    fn is_shared(&self) -> bool;
}

impl<T: Store> DynStore for T {
    fn claim<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, ClaimOutcome> {
        Box::pin(telemetry::store_call("claim", Store::claim(self, attempt)))
    }

    fn renew<'a>(&'a self, attempt: &'a Attempt, held: &'a Acquired) -> Call<'a, RenewOutcome> {
        Box::pin(telemetry::store_call("renew", Store::renew(self, attempt, held)))
    }

    fn complete<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: Bytes) -> Call<'a, CompleteOutcome> {
        Box::pin(telemetry::store_call("complete", Store::complete(self, attempt, fence, record)))
    }

    fn replace<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: Bytes) -> Call<'a, CompleteOutcome> {
        Box::pin(telemetry::store_call("replace", Store::replace(self, attempt, fence, record)))
    }

    fn save_steps<'a>(&'a self, attempt: &'a Attempt, fence: u64, steps: Bytes) -> Call<'a, SaveOutcome> {
        Box::pin(telemetry::store_call("save_steps", Store::save_steps(self, attempt, fence, steps)))
    }

    fn release<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, ReleaseOutcome> {
        Box::pin(telemetry::store_call("release", Store::release(self, attempt)))
    }

    fn abandon<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, ReleaseOutcome> {
        Box::pin(telemetry::store_call("abandon", Store::abandon(self, attempt)))
    }

    fn lookup<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Lookup> {
        Box::pin(telemetry::store_call("lookup", Store::lookup(self, key)))
    }

    fn now(&self) -> Call<'_, SystemTime> {
        Box::pin(Store::now(self))
    }

    fn forget<'a>(&'a self, key: &'a StoreKey) -> Call<'a, ForgetOutcome> {
        Box::pin(telemetry::store_call("forget", Store::forget(self, key)))
    }

    fn is_shared(&self) -> bool {
        Store::is_shared(self)
    }
}
