//! A `RedisStore` for tests that do not look at its timeouts, and one for tests that do.

use std::time::{Duration, Instant};

use idempotent_runtime::{
    RedisStore,
    store::{RedisStoreBuilder, RedisStoreError},
};

/// How long a busy machine may take for one answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Its timeouts are far longer than a service's, so that a busy machine does not fail the test. It asks its server nothing
/// but what its calls ask.
pub fn patient() -> RedisStoreBuilder {
    RedisStore::builder().response_timeout(PATIENCE).connect_timeout(PATIENCE).watch_every(Duration::ZERO)
}

/// A store with the timeouts of a service.
pub async fn hasty(url: &str) -> RedisStore {
    connected(async || RedisStore::connect(url).await).await
}

/// Connects a store whose timeouts are short. On a busy machine this may take more than one try.
pub async fn connected(connect: impl AsyncFn() -> Result<RedisStore, RedisStoreError>) -> RedisStore {
    let start = Instant::now();
    loop {
        match connect().await {
            Ok(store) => return store,
            Err(error) => assert!(start.elapsed() < 3 * PATIENCE, "{error:?}"),
        }
    }
}
