//! Saves a step in the user's transaction: with the claim where the database has it, else in a row of its own.

use bytes::Bytes;
use sqlx::Transaction;
use tokio::time::timeout;

use super::transaction::{Sent, not_committed};
use crate::{
    engine::{ActiveAttempt, Value, decode_one, encode_one},
    journal::{CommitError, JournalDatabase, Row, row::values},
    sql::digest,
    store::{ClaimRequest, StoreKey, count},
};

/// Why a step is not committed.
pub(super) enum NotCommitted {
    /// The key is another attempt's.
    Lost,
    /// There is no room for the value.
    TooLarge,
    Refused(CommitError),
}

impl From<CommitError> for NotCommitted {
    fn from(error: CommitError) -> Self {
        Self::Refused(error)
    }
}

impl ActiveAttempt {
    /// The value of a step that is saved already. `None` if the step has to run.
    pub(super) async fn saved_step<DB: JournalDatabase>(
        &self,
        tx: &mut DB::Connection,
        name: &str,
    ) -> Result<Option<Bytes>, NotCommitted> {
        let schema = self.schema_for::<DB>(tx).await?;
        let known = self.steps.find(name);
        if let Some(Value::Kept(value)) = known {
            return Ok(Some(value));
        }
        if self.is_lost() {
            return Err(NotCommitted::Lost);
        }
        if schema.save_steps.is_some() {
            // All steps came with the claim.
            return if known.is_some() { Err(NotCommitted::TooLarge) } else { Ok(None) };
        }
        let step = self.as_step(name);
        let found = self.read_row::<DB>(tx, &step.key).await.ok_or(CommitError::Timeout)?;
        match found {
            Ok(None) => Ok(None),
            found => Ok(Some(self.value_of(name, &self.taken_by(found, None)?)?)),
        }
    }

    /// Commits the transaction and with it the step's value. Gives back the value that counts: another one, if an attempt
    /// that runs at the same time has committed the step before.
    pub(super) async fn commit_step<DB: JournalDatabase>(
        &self,
        tx: Transaction<'_, DB>,
        name: &str,
        value: Bytes,
    ) -> Result<Bytes, NotCommitted> {
        match &self.schema()?.save_steps {
            Some(statement) => self.commit_with_claim(tx, statement, name, value).await,
            None => self.commit_in_row(tx, name, value).await,
        }
    }

    async fn commit_with_claim<DB: JournalDatabase>(
        &self,
        mut tx: Transaction<'_, DB>,
        statement: &str,
        name: &str,
        value: Bytes,
    ) -> Result<Bytes, NotCommitted> {
        let journal = self.engine.journal.as_deref().ok_or(CommitError::NoJournal)?;
        // Until the outcome is known, no other save of this attempt may write the steps without this one.
        let _saving = self.steps.saving.lock().await;
        if let Some(Value::Kept(first)) = self.steps.find(name) {
            return Ok(first);
        }
        let limit = self.engine.settings.max_response;
        let steps = self.steps.with(name, &value, limit).ok_or(NotCommitted::TooLarge)?;
        let sealed = journal.to_steps(&self.attempt, &steps).map_err(|error| CommitError::Response(Some(error)))?;
        let (key, token) = (digest(&self.attempt.key), self.attempt.token.as_bytes());
        let change = i64::try_from(count().number()).unwrap_or(i64::MAX);
        match timeout(self.limit(), DB::save_steps(&mut tx, statement, &key, token, &sealed, change)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                self.lose("the row of the claim is no longer this attempt's, so a step was rolled back");
                return Err(NotCommitted::Lost);
            }
            Ok(Err(error)) => return Err(CommitError::Database(error).into()),
            Err(_) => return Err(CommitError::Timeout.into()),
        }
        match self.send_commit(&mut tx).await {
            Sent::Committed => {}
            Sent::Refused(error) => return Err(CommitError::Database(error).into()),
            Sent::Unanswered(lost) => {
                drop(tx);
                match journal.settle_steps(&self.attempt).await {
                    Ok(Some(saved)) if saved == steps => {}
                    Ok(Some(_)) => return Err(not_committed(lost).into()),
                    // Whoever has the key now has the steps as well.
                    Ok(None) => {
                        self.lose("the row of the claim is no longer this attempt's");
                        return Err(NotCommitted::Lost);
                    }
                    // The attempt that goes on finds out.
                    Err(_) => {
                        self.steps.doubt();
                        self.lose("whether a step's transaction was committed is not known");
                        return Err(CommitError::Unknown(lost).into());
                    }
                }
            }
        }
        self.steps.committed_with_claim(name, value.clone(), steps);
        Ok(value)
    }

    async fn commit_in_row<DB: JournalDatabase>(
        &self,
        mut tx: Transaction<'_, DB>,
        name: &str,
        value: Bytes,
    ) -> Result<Bytes, NotCommitted> {
        let journal = self.engine.journal.as_deref().ok_or(CommitError::NoJournal)?;
        let schema = journal.schema();
        if value.len() > self.engine.settings.max_response {
            return Err(NotCommitted::TooLarge);
        }
        let step = self.as_step(name);
        let record = journal.to_row(&step, &encode_one(name, &value));
        let record = record.map_err(|error| CommitError::Response(Some(error)))?;
        let key = digest(&step.key);
        let inserted = timeout(self.limit(), DB::insert(&mut tx, schema, values(&step, &key, self.fence(), &record)));
        let refused = match inserted.await {
            Ok(Ok(true)) => match self.send_commit(&mut tx).await {
                Sent::Committed => return Ok(self.committed_in_row(name, value)),
                Sent::Refused(error) => Some(error),
                Sent::Unanswered(lost) => {
                    drop(tx);
                    return match journal.settle(&step).await {
                        Ok(Some(row)) => Ok(self.value_of(name, &row)?),
                        Ok(None) => Err(not_committed(lost).into()),
                        Err(_) => {
                            self.steps.in_transaction();
                            Err(CommitError::Unknown(lost).into())
                        }
                    };
                }
            },
            Ok(Ok(false)) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => return Err(CommitError::Timeout.into()),
        };
        let found = self.winner(tx, &step.key).await?;
        Ok(self.value_of(name, &self.taken_by(found, refused)?)?)
    }

    /// The attempt as it names the row of one of its steps. No request has this key: its parts are escaped, and so
    /// contain no colon.
    ///
    /// The row has to outlive the record of an attempt that dies at its very end.
    fn as_step(&self, name: &str) -> ClaimRequest {
        let key = StoreKey::new(format!("{}:step:{name}", self.attempt.key.as_str()));
        let ttl = self.attempt.retention().saturating_add(self.engine.settings.max_attempt);
        ClaimRequest { key, ttl, ..self.attempt.clone() }
    }

    /// The value in a step's row.
    fn value_of(&self, name: &str, row: &Row) -> Result<Bytes, CommitError> {
        if row.fingerprint != self.attempt.fingerprint {
            return Err(CommitError::KeyReused);
        }
        let value = decode_one(&row.record, name).ok_or_else(|| CommitError::Unreadable("it is no step".into()))?;
        Ok(self.committed_in_row(name, value))
    }

    fn committed_in_row(&self, name: &str, value: Bytes) -> Bytes {
        // Without a claim there is nothing to save it with.
        if self.held.is_some() {
            self.steps.committed_in_row(name, value.clone(), self.engine.settings.max_response);
        }
        value
    }
}
