//! [`CommitTable`]: the table of a [`SqlStore`], as the place where handlers commit their responses.

#[cfg(feature = "encryption")]
use std::error::Error;
use std::{future::Future, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{Answer, Call, Journal, Row, TableError, Unanswered, readiness::Readiness};
#[cfg(feature = "encryption")]
use crate::store::sealing::{EncryptionKeys, Purpose, SealError};
use crate::{
    error_chain::chain,
    store::{ClaimRequest, Head, Seen, SqlStore, State, StoreKey, sql::Schema},
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
    #[cfg(feature = "encryption")]
    keys: Option<EncryptionKeys>,
}

impl CommitTable {
    /// The table of the service's own store.
    pub(crate) fn with_claims(store: SqlStore) -> Self {
        Self::new(store, true)
    }

    /// A table beside the service's store.
    pub(crate) fn beside(store: SqlStore) -> Self {
        Self::new(store, false)
    }

    fn new(store: SqlStore, has_claims: bool) -> Self {
        Self {
            store,
            has_claims,
            readiness: Readiness::default(),
            #[cfg(feature = "encryption")]
            keys: None,
        }
    }

    async fn look(&self, key: &StoreKey) -> Result<Option<Row>, Unanswered> {
        let seen = self.store.seen(key).await?;
        Row::committed(seen)?.map(|row| self.open(key, row)).transpose()
    }

    /// Inserts a row, and rolls back unless it is to be kept. Returns whether the key was free. When it returns, no open
    /// transaction has written the key.
    async fn insert(&self, claim: &ClaimRequest, fence: u64, record: &[u8], keep: bool) -> Result<bool, Unanswered> {
        Ok(self.store.pool().insert(self.schema(), claim, fence, record, keep).await?)
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Unanswered> {
        timeout(self.timeout(), call).await.unwrap_or(Err(Unanswered::Timeout))
    }

    /// Reads a key that no request has, to find out whether the table can be read.
    async fn find_table(&self) -> bool {
        let limit = self.timeout().min(READY_WITHIN);
        let failed = match timeout(limit, self.store.seen(&StoreKey::new(""))).await {
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
        Box::pin(self.within(self.look(key)))
    }

    fn settle<'a>(&'a self, claim: &'a ClaimRequest) -> Call<'a, Option<Row>> {
        Box::pin(self.within(async move {
            // Most transactions have committed by now. Reading is cheaper than a transaction that is rolled back.
            if let Some(row) = self.look(&claim.key).await? {
                return Ok(Some(row));
            }
            self.insert(claim, 0, &[], false).await?;
            self.look(&claim.key).await
        }))
    }

    fn write_row<'a>(&'a self, claim: &'a ClaimRequest, fence: u64, record: &'a Bytes) -> Call<'a, Option<Row>> {
        if self.has_claims {
            // The completion that follows stores the response, and no other attempt can commit meanwhile.
            return Box::pin(std::future::ready(Ok(None)));
        }
        Box::pin(self.within(async move {
            let record = self.to_row(claim, record).map_err(Unanswered::Failed)?;
            if self.insert(claim, fence, &record, true).await? {
                return Ok(None);
            }
            self.look(&claim.key).await
        }))
    }

    fn settle_steps<'a>(&'a self, claim: &'a ClaimRequest) -> Call<'a, Option<Bytes>> {
        Box::pin(self.within(async move {
            self.insert(claim, 0, &[], false).await?;
            let seen = self.store.seen(&claim.key).await?;
            match seen {
                Seen::Record { head: Head { token, state: State::Running { .. }, .. }, body, .. }
                    if token == claim.token =>
                {
                    self.open_steps(claim, body.unwrap_or_default()).map(Some)
                }
                _ => Ok(None),
            }
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

    #[cfg(feature = "encryption")]
    fn encrypt(&mut self, keys: EncryptionKeys) {
        self.keys = Some(keys);
    }

    #[cfg(feature = "encryption")]
    fn to_row(&self, claim: &ClaimRequest, record: &Bytes) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        self.seal(Purpose::Record, claim, record)
    }

    #[cfg(feature = "encryption")]
    fn to_steps(&self, claim: &ClaimRequest, steps: &Bytes) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        self.seal(Purpose::Steps, claim, steps)
    }

    #[cfg(feature = "encryption")]
    fn open_steps(&self, claim: &ClaimRequest, steps: Bytes) -> Result<Bytes, Unanswered> {
        match &self.keys {
            Some(keys) if !steps.is_empty() => {
                keys.open(Purpose::Steps, &claim.key, &claim.fingerprint, &steps).map_err(unreadable)
            }
            _ => Ok(steps),
        }
    }

    #[cfg(feature = "encryption")]
    fn open(&self, key: &StoreKey, row: Row) -> Result<Row, Unanswered> {
        let Some(keys) = &self.keys else { return Ok(row) };
        let record = keys.open(Purpose::Record, key, &row.fingerprint, &row.record).map_err(unreadable)?;
        Ok(Row { record, ..row })
    }
}

#[cfg(feature = "encryption")]
impl CommitTable {
    fn seal(
        &self,
        purpose: Purpose,
        claim: &ClaimRequest,
        plain: &Bytes,
    ) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        let Some(keys) = &self.keys else { return Ok(plain.clone()) };
        keys.seal(purpose, &claim.key, &claim.fingerprint, plain).map_err(Into::into)
    }
}

#[cfg(feature = "encryption")]
fn unreadable(error: SealError) -> Unanswered {
    Unanswered::Unreadable(error.into())
}
