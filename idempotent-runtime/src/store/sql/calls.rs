//! Implements [`Store`] for [`SqlStore`].

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::SqlStore;
use crate::store::{
    Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome,
    SaveOutcome, Store, StoreError, StoreKey,
};

impl Store for SqlStore {
    async fn claim(&self, attempt: &ClaimRequest) -> Result<ClaimOutcome, StoreError> {
        self.protocol().claim(attempt).await
    }

    async fn renew(&self, attempt: &ClaimRequest, held: &Acquired) -> Result<RenewOutcome, StoreError> {
        self.protocol().renew(attempt, held).await
    }

    async fn complete(&self, attempt: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        self.protocol().complete(attempt, fence, record).await
    }

    async fn replace(&self, attempt: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        self.protocol().replace(attempt, fence, record).await
    }

    async fn save_steps(&self, attempt: &ClaimRequest, fence: u64, steps: Bytes) -> Result<SaveOutcome, StoreError> {
        self.protocol().save_steps(attempt, fence, &steps).await
    }

    async fn release(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        self.protocol().release(attempt).await
    }

    async fn abandon(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        self.protocol().abandon(attempt).await
    }

    async fn lookup(&self, key: &StoreKey) -> Result<Lookup, StoreError> {
        Ok(self.protocol().look(key).await?.lookup())
    }

    async fn forget(&self, key: &StoreKey) -> Result<ForgetOutcome, StoreError> {
        self.protocol().forget(key).await
    }

    fn for_heartbeats(&self) -> Option<Self> {
        self.for_heartbeats()
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        Ok(SystemTime::UNIX_EPOCH + Duration::from_micros(self.protocol().clock().await?))
    }
}
