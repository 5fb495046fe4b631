//! The boxed twin of [`Store`], so that one engine serves every store.

use std::{future::Future, pin::Pin, time::SystemTime};

use bytes::Bytes;

use super::{Answer, Attempt, Completion, Ending, Renewal, Sighting, Store, StoreError, StoreKey};

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
}

impl<T: Store> DynStore for T {
    fn claim<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, Answer> {
        Box::pin(Store::claim(self, attempt))
    }

    fn renew<'a>(&'a self, attempt: &'a Attempt, fence: u64) -> Call<'a, Renewal> {
        Box::pin(Store::renew(self, attempt, fence))
    }

    fn complete<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: Bytes) -> Call<'a, Completion> {
        Box::pin(Store::complete(self, attempt, fence, record))
    }

    fn release<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, Ending> {
        Box::pin(Store::release(self, attempt))
    }

    fn abandon<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, Ending> {
        Box::pin(Store::abandon(self, attempt))
    }

    fn look<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Sighting> {
        Box::pin(Store::look(self, key))
    }

    fn now(&self) -> Call<'_, SystemTime> {
        Box::pin(Store::now(self))
    }
}
