//! Writes the row of an attempt into the user's transaction, and finds out whether it was committed.

use std::{error::Error, time::Duration};

use axum::response::Response;
use bytes::Bytes;
use sqlx::Transaction;
use tokio::time::timeout;

use crate::{
    engine::ActiveAttempt,
    journal::{
        CommitError, Committed, Journal, JournalDatabase, JournalEntry, Progress, Row, Unanswered,
        database_error::unanswered,
        row::{row, values},
    },
    response::{
        encode::{Recorded, encode},
        record,
    },
    sql::{database::Values, digest, schema::Schema},
    store::Attempt,
};

impl ActiveAttempt {
    pub(super) async fn commit<DB: JournalDatabase>(
        &self,
        mut tx: Transaction<'_, DB>,
        response: Response,
    ) -> Result<Committed, CommitError> {
        let before = self.progress();
        let inserted = self.insert(&mut tx, response).await;
        let (record, response) = match inserted {
            Ok(Inserted::Ours { record, response }) => (record, response),
            Ok(Inserted::Taken) => return self.collided(tx, before, None).await,
            Err(CommitError::Database(error)) => return self.collided(tx, before, Some(error)).await,
            // The outer transaction belongs to the caller.
            Err(CommitError::Savepoint) => return Err(CommitError::Savepoint),
            Err(error) => {
                self.roll_back(&mut tx).await;
                self.set_progress(before);
                return Err(error);
            }
        };
        let row = self.own_row(record);
        let lost: Box<dyn Error + Send + Sync> = match timeout(self.limit(), DB::commit(&mut tx)).await {
            Ok(Ok(())) => {
                self.set_progress(Progress::Closed(row));
                return Ok(Committed { response, replayed: false });
            }
            // The connection works, so this transaction is over.
            Ok(Err(error @ sqlx::Error::Database(_))) if self.roll_back(&mut tx).await => {
                return self.collided(tx, Progress::Untouched, Some(error)).await;
            }
            Ok(Err(error)) => error.into(),
            Err(elapsed) => elapsed.into(),
        };
        drop(tx);
        tracing::warn!(error = %lost, "a COMMIT failed or got no answer; the journal is asked whether it took effect");
        let Some(journal) = self.engine.journal.as_deref() else { return Err(CommitError::NoJournal) };
        match journal.settle(&self.attempt).await {
            Ok(Some(row)) if self.owns(&row) => {
                self.set_progress(Progress::Closed(row));
                Ok(Committed { response, replayed: false })
            }
            Ok(Some(row)) => self.replay(row),
            Ok(None) => {
                self.set_progress(Progress::Untouched);
                Err(match lost.downcast::<sqlx::Error>() {
                    Ok(error) => CommitError::Database(*error),
                    Err(_) => CommitError::Timeout,
                })
            }
            Err(_) => Err(CommitError::Unknown(lost)),
        }
    }

    pub(super) async fn record<DB: JournalDatabase>(
        &self,
        tx: &mut Transaction<'_, DB>,
        response: Response,
    ) -> Result<Committed, CommitError> {
        match self.insert(tx, response).await? {
            Inserted::Ours { response, .. } => Ok(Committed { response, replayed: false }),
            Inserted::Taken => {
                let found = self.read_row::<DB>(tx).await.ok_or(CommitError::Timeout)?;
                self.lost_to(found, None)
            }
        }
    }

    pub(super) async fn entry(&self, response: Response) -> Result<(JournalEntry, Response), CommitError> {
        self.schema()?;
        let (record, response) = self.encode(response).await?;
        let record = self.to_row(&record)?;
        self.set_progress(Progress::Open);
        let key = digest(&self.attempt.key);
        let Values { key, fingerprint, token, fence, record, ttl_millis } = self.values(&key, &record);
        let (key, fingerprint, token) = (key.to_vec(), fingerprint.to_vec(), token.to_vec());
        Ok((JournalEntry { key, fingerprint, token, fence, record: record.to_vec(), ttl_millis }, response))
    }

    /// Inserts the record in the transaction. If the future is dropped after this, it is not known whether the row was
    /// committed.
    async fn insert<DB: JournalDatabase>(
        &self,
        tx: &mut Transaction<'_, DB>,
        response: Response,
    ) -> Result<Inserted, CommitError> {
        let schema = self.schema()?;
        if !DB::is(schema) {
            return Err(CommitError::OtherDatabase);
        }
        match timeout(self.limit(), DB::in_savepoint(tx)).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => return Err(CommitError::Savepoint),
            Ok(Err(error)) => return Err(CommitError::Database(error)),
            Err(_) => return Err(CommitError::Timeout),
        }
        let (record, response) = self.encode(response).await?;
        let stored = self.to_row(&record)?;
        let key = digest(&self.attempt.key);
        self.set_progress(Progress::Open);
        match timeout(self.limit(), DB::insert(tx, schema, self.values(&key, &stored))).await {
            Ok(Ok(true)) => Ok(Inserted::Ours { record, response }),
            Ok(Ok(false)) => Ok(Inserted::Taken),
            Ok(Err(error)) => Err(CommitError::Database(error)),
            Err(_) => Err(CommitError::Timeout),
        }
    }

    fn schema(&self) -> Result<&Schema, CommitError> {
        if self.has_ended() {
            return Err(CommitError::Ended);
        }
        if matches!(self.progress(), Progress::Closed(_)) {
            return Err(CommitError::Twice);
        }
        self.engine.journal.as_deref().map(Journal::schema).ok_or(CommitError::NoJournal)
    }

    /// The record, and the response with its body read. The response is marked, so that the engine recognises it as the
    /// recorded one.
    async fn encode(&self, response: Response) -> Result<(Bytes, Response), CommitError> {
        let encoded = encode(response, &self.engine.settings).await;
        let storable = encoded.map_err(|(_, error)| CommitError::Response(error.map(Into::into)))?;
        Ok((storable.record.clone(), marked(storable.response, storable.record)))
    }

    /// The form in which the row holds a record.
    fn to_row(&self, record: &Bytes) -> Result<Bytes, CommitError> {
        let journal = self.engine.journal.as_deref().ok_or(CommitError::NoJournal)?;
        journal.to_row(&self.attempt, record).map_err(|error| CommitError::Response(Some(error)))
    }

    fn values<'a>(&'a self, key: &'a [u8; 32], record: &'a [u8]) -> Values<'a> {
        values(&self.attempt, key, self.fence(), record)
    }

    fn limit(&self) -> Duration {
        self.engine.journal.as_deref().map(Journal::timeout).unwrap_or_default()
    }

    /// Rolls the transaction back, so that its connection can be used again. Returns false if there was no answer.
    /// Nothing is committed in that case either, because COMMIT was not sent or was refused.
    async fn roll_back<DB: JournalDatabase>(&self, tx: &mut Transaction<'_, DB>) -> bool {
        let ended = matches!(timeout(self.limit(), DB::roll_back(tx)).await, Ok(Ok(())));
        if !ended {
            tracing::warn!("a rollback got no answer; its connection is closed");
        }
        ended
    }

    /// Another transaction has inserted the key, or may have. Databases at the higher isolation levels report this as
    /// an error.
    ///
    /// Reads the row over the caller's own connection. The pool may have no other free connection while the caller
    /// holds this one.
    async fn collided<DB: JournalDatabase>(
        &self,
        mut tx: Transaction<'_, DB>,
        before: Progress,
        refused: Option<sqlx::Error>,
    ) -> Result<Committed, CommitError> {
        let found = if self.roll_back(&mut tx).await { self.read_row::<DB>(&mut tx).await } else { None };
        drop(tx);
        self.set_progress(before);
        let found = match (found, self.engine.journal.as_deref()) {
            (Some(found), _) => found,
            (None, Some(journal)) => journal.winner(&self.attempt.key).await,
            (None, None) => return Err(CommitError::NoJournal),
        };
        self.lost_to(found, refused)
    }

    /// The key's committed row, read over the caller's connection. `None` if the connection does not answer.
    async fn read_row<DB: JournalDatabase>(
        &self,
        connection: &mut DB::Connection,
    ) -> Option<Result<Option<Row>, Unanswered>> {
        let journal = self.engine.journal.as_deref()?;
        let schema = journal.schema();
        let key = digest(&self.attempt.key);
        let found = timeout(self.limit(), DB::find(connection, &schema.find, &key)).await.ok()?;
        match found.map_err(unanswered) {
            Ok(found) => {
                let opened = |row| journal.open(&self.attempt.key, row);
                Some(found.map(|found| row(found).and_then(opened)).transpose())
            }
            Err(unreadable @ Unanswered::Unreadable(_)) => Some(Err(unreadable)),
            Err(_) => None,
        }
    }

    /// The result of the commit, given the row that was found or its absence.
    fn lost_to(
        &self,
        found: Result<Option<Row>, Unanswered>,
        refused: Option<sqlx::Error>,
    ) -> Result<Committed, CommitError> {
        let is_the_store = self.engine.journal.as_deref().is_some_and(Journal::is_the_store);
        match (found, refused) {
            (Ok(Some(row)), _) => self.replay(row),
            (Err(Unanswered::Unreadable(error)), _) => Err(CommitError::Unreadable(error)),
            (_, Some(refused)) => Err(CommitError::Database(refused)),
            (Ok(None), None) if is_the_store => Err(CommitError::Lost),
            (Ok(None), None) => Err(CommitError::Database(sqlx::Error::RowNotFound)),
            (Err(_), None) => Err(CommitError::Timeout),
        }
    }

    fn replay(&self, row: Row) -> Result<Committed, CommitError> {
        tracing::info!(
            idempotency.outcome = "rolled-back",
            "an earlier attempt has committed its response, so this one was rolled back"
        );
        self.set_progress(Progress::Closed(row.clone()));
        if row.fingerprint != self.attempt.fingerprint {
            return Err(CommitError::KeyReused);
        }
        let response = record::answer(&row.record).unwrap_or_else(|problem| self.engine.settings.answer(problem));
        Ok(Committed { response: marked(response, row.record), replayed: true })
    }

    fn own_row(&self, record: Bytes) -> Row {
        let Attempt { fingerprint, token, ttl, .. } = self.attempt;
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

fn marked(mut response: Response, record: Bytes) -> Response {
    response.extensions_mut().insert(Recorded(record));
    response
}
