//! Deletes expired rows in the background while the store exists.

use std::{sync::OnceLock, time::Duration};

use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{pool::DatabasePool, schema::Schema};
use crate::{error_chain::chain, telemetry::clean_up};

/// How many rows one statement deletes.
const BATCH: u32 = 500;

/// The pause between two full batches, so that the clean-up takes only a part of the database's time.
const BETWEEN_BATCHES: Duration = Duration::from_millis(20);

/// How long a batch may take: as long as the pause between two, within these limits. A server that does not answer must
/// not end the deletions for good.
const BATCH_WITHIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Deletes expired rows until none is left, and again after each pause. Dropping it stops the work.
pub(super) struct Cleaner {
    every: Duration,
    task: OnceLock<AbortHandle>,
}

impl Cleaner {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, task: OnceLock::new() }
    }

    /// Starts the task once. It is called with the first call to the store, because a store is often built before its
    /// tokio runtime runs.
    pub(super) fn start(&self, pool: &DatabasePool, schema: &Schema) {
        self.task.get_or_init(|| {
            tokio::spawn(clean(pool.clone(), schema.delete_expired.clone(), self.every)).abort_handle()
        });
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

async fn clean(pool: DatabasePool, delete_expired: String, every: Duration) {
    let (least, most) = BATCH_WITHIN;
    let limit = every.clamp(least, most);
    loop {
        let pause = match timeout(limit, pool.delete_expired(&delete_expired, BATCH)).await {
            Ok(Ok(deleted)) if deleted >= BATCH.into() => BETWEEN_BATCHES,
            Ok(Ok(_)) => every,
            Ok(Err(error)) => {
                clean_up::failed("idempotency_keys", &chain(&error));
                every
            }
            Err(late) => {
                clean_up::failed("idempotency_keys", &late);
                every
            }
        };
        sleep(pause).await;
    }
}
