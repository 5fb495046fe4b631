//! [`SealedJournal`]: encrypts records before they reach a journal, and decrypts its answers.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Answer, Call, Journal, Row, Unanswered};
use crate::{
    sql::schema::Schema,
    store::sealing::{EncryptionKeys, Purpose, SealError},
    store::{ClaimRequest, StoreKey},
};

pub(crate) struct SealedJournal {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) keys: EncryptionKeys,
}

impl SealedJournal {
    async fn opened(
        &self,
        key: &StoreKey,
        found: impl Future<Output = Result<Option<Row>, Unanswered>>,
    ) -> Result<Option<Row>, Unanswered> {
        found.await?.map(|row| self.open(key, row)).transpose()
    }
}

impl Journal for SealedJournal {
    fn is_ready(&self) -> bool {
        self.journal.is_ready()
    }

    fn prepare(&self) -> Answer<'_, bool> {
        self.journal.prepare()
    }

    fn find<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Row>> {
        Box::pin(self.opened(key, self.journal.find(key)))
    }

    fn existing_row<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Row>> {
        Box::pin(self.opened(key, self.journal.existing_row(key)))
    }

    fn settle<'a>(&'a self, attempt: &'a ClaimRequest) -> Call<'a, Option<Row>> {
        Box::pin(self.opened(&attempt.key, self.journal.settle(attempt)))
    }

    fn write_row<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, record: &'a Bytes) -> Call<'a, Option<Row>> {
        Box::pin(async move {
            let sealed = self.to_row(attempt, record).map_err(Unanswered::Failed)?;
            self.opened(&attempt.key, self.journal.write_row(attempt, fence, &sealed)).await
        })
    }

    fn to_row(
        &self,
        attempt: &ClaimRequest,
        record: &Bytes,
    ) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
        let sealed = self.keys.seal(Purpose::Record, &attempt.key, &attempt.fingerprint, record);
        sealed.map_err(Into::into)
    }

    fn to_steps(
        &self,
        attempt: &ClaimRequest,
        steps: &Bytes,
    ) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
        self.keys.seal(Purpose::Steps, &attempt.key, &attempt.fingerprint, steps).map_err(Into::into)
    }

    fn settle_steps<'a>(&'a self, claim: &'a ClaimRequest) -> Call<'a, Option<Bytes>> {
        Box::pin(async move {
            let sealed = self.journal.settle_steps(claim).await?;
            sealed.map(|sealed| self.open_steps(claim, sealed)).transpose()
        })
    }

    fn open_steps(&self, claim: &ClaimRequest, sealed: Bytes) -> Result<Bytes, Unanswered> {
        if sealed.is_empty() {
            return Ok(sealed);
        }
        let opened = self.keys.open(Purpose::Steps, &claim.key, &claim.fingerprint, &sealed);
        opened.map_err(|error: SealError| Unanswered::Unreadable(error.into()))
    }

    fn open(&self, key: &StoreKey, row: Row) -> Result<Row, Unanswered> {
        let opened = self.keys.open(Purpose::Record, key, &row.fingerprint, &row.record);
        let record = opened.map_err(|error: SealError| Unanswered::Unreadable(error.into()))?;
        Ok(Row { record, ..row })
    }

    fn is_the_store(&self) -> bool {
        self.journal.is_the_store()
    }

    fn timeout(&self) -> Duration {
        self.journal.timeout()
    }

    fn schema(&self) -> &Schema {
        self.journal.schema()
    }
}
