//! Implements [`Store`] for [`SqlStore`].

use std::time::SystemTime;

use super::SqlStore;
use crate::store::{Expect, Put, Seen, Store, StoreError, StoreKey, Swapped};

impl Store for SqlStore {
    async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        self.rows().read(key).await
    }

    async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        self.rows().swap(key, expect, put).await
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        self.rows().now().await
    }

    fn for_heartbeats(&self) -> Option<Self> {
        self.for_heartbeats()
    }
}
