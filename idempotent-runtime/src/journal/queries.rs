//! The questions that the engine asks a [`SqlJournal`].

use std::{future::Future, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{
    Call, Journal, Row, Unanswered,
    database_error::{self, TableError},
    row::{row, values},
    sql::SqlJournal,
};
use crate::{
    error_chain::chain,
    sql::{digest, schema::Schema},
    store::{ClaimRequest, StoreKey},
};

/// How long the first request waits for the answer whether the table exists. If the database takes longer, the handler
/// runs, and its own transaction will show it.
const READY_WITHIN: Duration = Duration::from_millis(500);

impl SqlJournal {
    async fn look(&self, key: &[u8; 32]) -> Result<Option<Row>, Unanswered> {
        let found = self.pool.find(&self.schema.find, key).await.map_err(database_error::unanswered)?;
        found.map(row).transpose()
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Unanswered> {
        timeout(self.timeout, call).await.unwrap_or(Err(Unanswered::Timeout))
    }

    /// Reads a key that no request has, to find out whether the table can be read.
    async fn find_table(&self) -> bool {
        let limit = self.timeout.min(READY_WITHIN);
        let failed = match timeout(limit, self.pool.find(&self.schema.find, &[0; 32])).await {
            Ok(Ok(_)) => {
                self.readiness.found();
                return true;
            }
            Ok(Err(error)) => TableError::of(error).ok(),
            Err(_) => None,
        };
        if let Some(error) = &failed
            && self.readiness.is_to_be_logged()
        {
            tracing::error!(error = %chain(error), "the journal's table cannot be used, so no request with a key is run");
        }
        let may_run = failed.is_none();
        self.readiness.not_found(may_run);
        may_run
    }
}

impl Journal for SqlJournal {
    fn is_ready(&self) -> bool {
        self.readiness.is_ready()
    }

    fn prepare(&self) -> super::Answer<'_, bool> {
        Box::pin(async move {
            if let Some(may_run) = self.readiness.recent() {
                return may_run;
            }
            let may_run = self.readiness.is_found() || self.find_table().await;
            if self.readiness.is_found() {
                self.readiness.serve();
            }
            may_run
        })
    }

    fn find<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Row>> {
        Box::pin(self.within(async move { self.look(&digest(key)).await }))
    }

    fn settle<'a>(&'a self, attempt: &'a ClaimRequest) -> Call<'a, Option<Row>> {
        Box::pin(self.within(async move {
            let key = digest(&attempt.key);
            // Most transactions have committed by now. Reading is cheaper than a transaction that is rolled back.
            if let Some(row) = self.look(&key).await? {
                return Ok(Some(row));
            }
            let probed = self.pool.probe(&self.schema, values(attempt, &key, 0, &[])).await;
            probed.map_err(database_error::unanswered)?;
            self.look(&key).await
        }))
    }

    fn seal<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, record: &'a Bytes) -> Call<'a, Option<Row>> {
        Box::pin(self.within(async move {
            let key = digest(&attempt.key);
            let sealed = self.pool.seal(&self.schema, values(attempt, &key, fence, record)).await;
            if sealed.map_err(database_error::unanswered)? {
                return Ok(None);
            }
            self.look(&key).await
        }))
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }
}
