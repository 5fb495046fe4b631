//! A `RedisStore` for tests that do not look at its timeouts.

use std::time::Duration;

use idempotent_runtime::{RedisStore, store::RedisStoreBuilder};

/// Its timeouts are far longer than a service's, so that a busy machine does not fail the test.
pub fn patient() -> RedisStoreBuilder {
    RedisStore::builder().response_timeout(Duration::from_secs(10)).connect_timeout(Duration::from_secs(10))
}
