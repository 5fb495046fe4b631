//! Writes the row of an attempt into the user's transaction, and finds out whether it was committed.

use axum::response::Response;
use bytes::Bytes;
use sqlx::Transaction;

use super::{
    committed::{CommitEntry, CommitError, Committed},
    transaction::{Sent, not_committed},
};
use crate::{
    engine::ActiveAttempt,
    http::{
        answer,
        response::encode::{Encoded, Recorded, encode},
    },
    journal::{JournalWrite, Row},
    store::{
        ClaimRequest,
        sql::{
            CommitDatabase,
            dialect::{self, number, ttl_millis},
            digest,
        },
    },
};

impl ActiveAttempt {
    pub(super) async fn commit<DB: CommitDatabase>(
        &self,
        mut tx: Transaction<'_, DB>,
        response: Response,
    ) -> Result<Committed, CommitError> {
        let before = self.journal_write();
        let inserted = self.insert(&mut tx, response).await;
        let (record, response) = match inserted {
            Ok(Inserted::Ours { record, response }) => (record, response),
            Ok(Inserted::Taken) => return self.collided(tx, before, None).await,
            Err(CommitError::Database(error)) => return self.collided(tx, before, Some(error)).await,
            // The outer transaction belongs to the caller.
            Err(CommitError::Savepoint) => return Err(CommitError::Savepoint),
            Err(error) => {
                self.roll_back(&mut tx).await;
                self.set_journal_write(before);
                return Err(error);
            }
        };
        let row = self.own_row(record);
        let lost = match self.send_commit(&mut tx).await {
            Sent::Committed => {
                self.set_journal_write(JournalWrite::Committed(row));
                return Ok(Committed { response, replayed: false });
            }
            Sent::Refused(error) => return self.collided(tx, JournalWrite::None, Some(error)).await,
            Sent::Unanswered(lost) => lost,
        };
        drop(tx);
        let Some(journal) = self.engine.journal.as_deref() else { return Err(CommitError::NoDatabase) };
        match journal.settle(&self.claim).await {
            Ok(Some(row)) if self.owns(&row) => {
                self.set_journal_write(JournalWrite::Committed(row));
                Ok(Committed { response, replayed: false })
            }
            Ok(Some(row)) => self.replay(row),
            Ok(None) => {
                self.set_journal_write(JournalWrite::None);
                Err(not_committed(lost))
            }
            Err(_) => Err(CommitError::Unknown(lost)),
        }
    }

    pub(super) async fn record<DB: CommitDatabase>(
        &self,
        tx: &mut Transaction<'_, DB>,
        response: Response,
    ) -> Result<Committed, CommitError> {
        match self.insert(tx, response).await? {
            Inserted::Ours { response, .. } => Ok(Committed { response, replayed: false }),
            Inserted::Taken => {
                let found = self.read_row::<DB>(tx, &self.claim.key).await.ok_or(CommitError::Timeout)?;
                self.replay(self.row_or_error(found, None)?)
            }
        }
    }

    pub(super) async fn entry(&self, response: Response) -> Result<(CommitEntry, Response), CommitError> {
        self.schema()?;
        let (record, response) = self.encode(response).await?;
        let record = self.to_row(&record)?;
        self.set_journal_write(JournalWrite::Unknown);
        let claim = &self.claim;
        let entry = CommitEntry {
            key: digest(&claim.key).to_vec(),
            fingerprint: claim.fingerprint.as_bytes().to_vec(),
            token: claim.token.as_bytes().to_vec(),
            fence: number(self.fence()),
            record: record.to_vec(),
            ttl_millis: ttl_millis(claim),
        };
        Ok((entry, response))
    }

    /// Inserts the record in the transaction. If the future is dropped after this, it is not known whether the row was
    /// committed.
    async fn insert<DB: CommitDatabase>(
        &self,
        tx: &mut Transaction<'_, DB>,
        response: Response,
    ) -> Result<Inserted, CommitError> {
        let schema = self.schema_for::<DB>(tx).await?;
        let (record, response) = self.encode(response).await?;
        let stored = self.to_row(&record)?;
        self.set_journal_write(JournalWrite::Unknown);
        let insert = dialect::insert::<DB>(tx, schema, &self.claim, self.fence(), &stored);
        let inserted = self.within(insert).await?;
        Ok(if inserted { Inserted::Ours { record, response } } else { Inserted::Taken })
    }

    /// The record, and the response with its body read. The response is marked, so that the engine recognises it as the
    /// recorded one.
    async fn encode(&self, response: Response) -> Result<(Bytes, Response), CommitError> {
        let encoded = encode(response, &self.engine.settings, self.telemetry.trace()).await;
        let Encoded { stored, is_too_large, .. } = encoded.map_err(|_| CommitError::Response(None))?;
        if is_too_large {
            self.too_large();
        }
        Ok((stored.record.clone(), marked(stored.value, stored.record, false)))
    }

    /// The form in which the row holds a record.
    fn to_row(&self, record: &Bytes) -> Result<Bytes, CommitError> {
        let journal = self.engine.journal.as_deref().ok_or(CommitError::NoDatabase)?;
        journal.to_row(&self.claim, record).map_err(|error| CommitError::Response(Some(error)))
    }

    /// Another transaction has inserted the key, or may have. Databases at the higher isolation levels report this as
    /// an error.
    async fn collided<DB: CommitDatabase>(
        &self,
        tx: Transaction<'_, DB>,
        before: JournalWrite,
        refused: Option<sqlx::Error>,
    ) -> Result<Committed, CommitError> {
        let found = self.existing_row(tx, &self.claim.key).await;
        self.set_journal_write(before);
        self.replay(self.row_or_error(found?, refused)?)
    }

    fn replay(&self, row: Row) -> Result<Committed, CommitError> {
        tracing::info!(
            idempotency.outcome = "rolled-back",
            "an earlier attempt has committed its response, so this one was rolled back"
        );
        self.set_journal_write(JournalWrite::Committed(row.clone()));
        if row.fingerprint != self.claim.fingerprint {
            return Err(CommitError::KeyReused);
        }
        let response = answer::replay(&row.record).unwrap_or_else(|problem| self.engine.settings.answer(problem));
        Ok(Committed { response: marked(response, row.record, true), replayed: true })
    }

    fn own_row(&self, record: Bytes) -> Row {
        let ClaimRequest { fingerprint, token, ttl, .. } = self.claim;
        Row { fingerprint, token, record, left: ttl }
    }
}

/// The result of the insertion.
enum Inserted {
    Ours {
        record: Bytes,
        response: Response,
    },
    /// A committed transaction has the key.
    Taken,
}

fn marked(mut response: Response, record: Bytes, replayed: bool) -> Response {
    response.extensions_mut().insert(Recorded { record, replayed });
    response
}
