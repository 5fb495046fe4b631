//! Deleting what has expired, in the background, for as long as the store is there.

use std::{sync::OnceLock, time::Duration};

use tokio::{task::AbortHandle, time::sleep};

use crate::{
    error_chain::chain,
    sql::{pool::DatabasePool, schema::Schema},
};

/// So many rows are deleted by one statement.
pub(crate) const BATCH: u32 = 500;

/// Between two full batches, so that clean-up never takes more than a part of the database's time.
const BETWEEN_BATCHES: Duration = Duration::from_millis(20);

/// Deletes expired rows until none is left, and again after each pause, until the cleaner is dropped.
pub(super) struct Cleaner {
    every: Duration,
    task: OnceLock<AbortHandle>,
}

impl Cleaner {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, task: OnceLock::new() }
    }

    /// Starts it once. A store is often built before its runtime runs, so its first call does this.
    pub(super) fn start(&self, pool: &DatabasePool, schema: &Schema) {
        self.task.get_or_init(|| tokio::spawn(clean(pool.clone(), schema.clone(), self.every)).abort_handle());
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

async fn clean(pool: DatabasePool, schema: Schema, every: Duration) {
    loop {
        let pause = match pool.reap(&schema, BATCH).await {
            Ok(deleted) if deleted >= BATCH.into() => BETWEEN_BATCHES,
            Ok(_) => every,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "expired keys were not deleted");
                every
            }
        };
        sleep(pause).await;
    }
}
