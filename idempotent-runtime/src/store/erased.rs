//! The boxed twin of [`Store`], so that one engine serves every store.

use std::{future::Future, pin::Pin, time::SystemTime};

use bytes::Bytes;

use super::{Answer, Attempt, Completion, Ending, Forgetting, Renewal, Sighting, Store, StoreError, StoreKey};
use crate::observe;

type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// [`Store`] behind a pointer; the methods are the same.
pub(crate) trait DynStore: Send + Sync + 'static {
    fn claim<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, Answer>;
    fn renew<'a>(&'a self, attempt: &'a Attempt, fence: u64) -> Call<'a, Renewal>;
    fn complete<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: Bytes) -> Call<'a, Completion>;
    fn release<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, Ending>;
    fn abandon<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, Ending>;
    fn look<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Sighting>;
    fn now(&self) -> Call<'_, SystemTime>;
    fn forget<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Forgetting>;
    fn is_shared(&self) -> bool;
}

impl<T: Store> DynStore for T {
    fn claim<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, Answer> {
        Box::pin(observe::store_call("claim", Store::claim(self, attempt)))
    }

    fn renew<'a>(&'a self, attempt: &'a Attempt, fence: u64) -> Call<'a, Renewal> {
        Box::pin(observe::store_call("renew", Store::renew(self, attempt, fence)))
    }

    fn complete<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: Bytes) -> Call<'a, Completion> {
        Box::pin(observe::store_call("complete", Store::complete(self, attempt, fence, record)))
    }

    fn release<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, Ending> {
        Box::pin(observe::store_call("release", Store::release(self, attempt)))
    }

    fn abandon<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, Ending> {
        Box::pin(observe::store_call("abandon", Store::abandon(self, attempt)))
    }

    fn look<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Sighting> {
        Box::pin(observe::store_call("look", Store::look(self, key)))
    }

    fn now(&self) -> Call<'_, SystemTime> {
        Box::pin(Store::now(self))
    }

    fn forget<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Forgetting> {
        Box::pin(observe::store_call("forget", Store::forget(self, key)))
    }

    fn is_shared(&self) -> bool {
        Store::is_shared(self)
    }
}
