//! A store in an `Arc`, for a caller that also uses the store itself.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{
    Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome,
    SaveOutcome, Store, StoreError, StoreKey,
};

impl<S: Store> Store for Arc<S> {
    async fn claim(&self, attempt: &ClaimRequest) -> Result<ClaimOutcome, StoreError> {
        S::claim(self, attempt).await
    }

    async fn renew(&self, attempt: &ClaimRequest, held: &Acquired) -> Result<RenewOutcome, StoreError> {
        S::renew(self, attempt, held).await
    }

    async fn complete(&self, attempt: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        S::complete(self, attempt, fence, record).await
    }

    async fn replace(&self, attempt: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        S::replace(self, attempt, fence, record).await
    }

    async fn save_steps(&self, attempt: &ClaimRequest, fence: u64, steps: Bytes) -> Result<SaveOutcome, StoreError> {
        S::save_steps(self, attempt, fence, steps).await
    }

    async fn release(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        S::release(self, attempt).await
    }

    async fn abandon(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        S::abandon(self, attempt).await
    }

    async fn lookup(&self, key: &StoreKey) -> Result<Lookup, StoreError> {
        S::lookup(self, key).await
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        S::now(self).await
    }

    async fn forget(&self, key: &StoreKey) -> Result<ForgetOutcome, StoreError> {
        S::forget(self, key).await
    }

    fn answers_within(&self) -> Option<Duration> {
        S::answers_within(self)
    }

    fn for_heartbeats(&self) -> Option<Self> {
        S::for_heartbeats(self).map(Arc::new)
    }

    fn is_shared(&self) -> bool {
        S::is_shared(self)
    }
}
