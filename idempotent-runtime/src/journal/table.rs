//! [`CommitTable`]: the table of a [`SqlStore`], as the place where handlers commit their responses.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{
    Answer, Call, Journal, Row, Unanswered,
    database_error::{self, TableError},
    readiness::Readiness,
    row::{row, values},
};
use crate::{
    error_chain::chain,
    protocol::{Head, Seen, State},
    sql::{digest, schema::Schema},
    store::{ClaimRequest, SqlStore, StoreError, StoreKey},
};

/// How long the first request waits for the answer whether the table exists. If the database takes longer, the handler
/// runs, and its own transaction will show it.
const READY_WITHIN: Duration = Duration::from_millis(500);

/// The table where the responses are committed.
///
/// If it has the claims too, several questions need no query, because the answer to the claim has answered them. The row
/// of a running attempt holds no response. An attempt that counts as dead cannot commit, because the row then has
/// another token.
pub(crate) struct CommitTable {
    store: SqlStore,
    has_claims: bool,
    readiness: Readiness,
}

impl CommitTable {
    /// The table of the service's own store.
    pub(crate) fn with_claims(store: SqlStore) -> Self {
        Self { store, has_claims: true, readiness: Readiness::default() }
    }

    /// A table beside the service's store.
    pub(crate) fn beside(store: SqlStore) -> Self {
        Self { store, has_claims: false, readiness: Readiness::default() }
    }

    async fn look(&self, key: &[u8; 32]) -> Result<Option<Row>, Unanswered> {
        let found = self.store.pool().find(&self.schema().find, key).await.map_err(database_error::unanswered)?;
        found.map(row).transpose()
    }

    /// Inserts a row and rolls back. When it returns, no open transaction has written the key.
    async fn probe(&self, claim: &ClaimRequest, key: &[u8; 32]) -> Result<(), Unanswered> {
        let probed = self.store.pool().probe(self.schema(), values(claim, key, 0, &[])).await;
        probed.map_err(database_error::unanswered)
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Unanswered> {
        timeout(self.timeout(), call).await.unwrap_or(Err(Unanswered::Timeout))
    }

    /// Reads a key that no request has, to find out whether the table can be read.
    async fn find_table(&self) -> bool {
        let limit = self.timeout().min(READY_WITHIN);
        let failed = match timeout(limit, self.store.pool().find(&self.schema().find, &[0; 32])).await {
            Ok(Ok(_)) => {
                self.readiness.found();
                return true;
            }
            Ok(Err(error)) => TableError::from_database(error).ok(),
            Err(_) => None,
        };
        if let Some(error) = &failed
            && self.readiness.is_to_be_logged()
        {
            crate::telemetry::log!(TABLE_UNUSABLE, error = %chain(error));
        }
        let may_run = failed.is_none();
        self.readiness.not_found(may_run);
        may_run
    }
}

impl Journal for CommitTable {
    fn is_ready(&self) -> bool {
        self.has_claims || self.readiness.is_found()
    }

    fn prepare(&self) -> Answer<'_, bool> {
        Box::pin(async move {
            self.store.start_deleting();
            match self.readiness.recent() {
                Some(may_run) => may_run,
                None => self.find_table().await,
            }
        })
    }

    fn find<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Row>> {
        if self.has_claims { Box::pin(std::future::ready(Ok(None))) } else { self.existing_row(key) }
    }

    fn existing_row<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Row>> {
        Box::pin(self.within(async move { self.look(&digest(key)).await }))
    }

    fn settle<'a>(&'a self, claim: &'a ClaimRequest) -> Call<'a, Option<Row>> {
        Box::pin(self.within(async move {
            let key = digest(&claim.key);
            // Most transactions have committed by now. Reading is cheaper than a transaction that is rolled back.
            if let Some(row) = self.look(&key).await? {
                return Ok(Some(row));
            }
            self.probe(claim, &key).await?;
            self.look(&key).await
        }))
    }

    fn write_row<'a>(&'a self, claim: &'a ClaimRequest, fence: u64, record: &'a Bytes) -> Call<'a, Option<Row>> {
        if self.has_claims {
            // The completion that follows stores the response, and no other attempt can commit meanwhile.
            return Box::pin(std::future::ready(Ok(None)));
        }
        Box::pin(self.within(async move {
            let key = digest(&claim.key);
            let written = self.store.pool().write_row(self.schema(), values(claim, &key, fence, record)).await;
            if written.map_err(database_error::unanswered)? {
                return Ok(None);
            }
            self.look(&key).await
        }))
    }

    fn settle_steps<'a>(&'a self, claim: &'a ClaimRequest) -> Call<'a, Option<Bytes>> {
        Box::pin(self.within(async move {
            self.probe(claim, &digest(&claim.key)).await?;
            let seen = self.store.seen(&claim.key).await.map_err(|error| match error {
                StoreError::Timeout => Unanswered::Timeout,
                error => Unanswered::Failed(error.into()),
            })?;
            Ok(match seen {
                Seen::Record { head: Head { token, state: State::Running { .. }, .. }, body, .. }
                    if token == claim.token =>
                {
                    Some(body.unwrap_or_default())
                }
                _ => None,
            })
        }))
    }

    fn is_the_store(&self) -> bool {
        self.has_claims
    }

    fn timeout(&self) -> Duration {
        self.store.row_timeout()
    }

    fn schema(&self) -> &Schema {
        self.store.statements()
    }
}
