//! A store in an `Arc`, for a caller that also uses the store itself.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Expect, Put, Seen, Store, StoreError, StoreKey, Swapped};

impl<S: Store> Store for Arc<S> {
    async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        S::read(self, key).await
    }

    async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        S::swap(self, key, expect, put).await
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        S::now(self).await
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
