//! Saves a step in the user's transaction: with the claim where the database has it, else in its own row.

use bytes::Bytes;
use sqlx::Transaction;

use super::{
    committed::CommitError,
    transaction::{Sent, not_committed},
};
use crate::{
    engine::{ActiveAttempt, Value, decode_one, encode_one},
    journal::{Journal, Row},
    store::{
        ClaimRequest, Head, Seen, State, StoreKey, count,
        sql::{CommitDatabase, Schema, dialect},
    },
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
    pub(super) async fn saved_step<DB: CommitDatabase>(
        &self,
        tx: &mut DB::Connection,
        name: &str,
    ) -> Result<Option<Bytes>, NotCommitted> {
        self.schema_for::<DB>(tx).await?;
        if self.steps.in_doubt() {
            let _saving = self.steps.saving.lock().await;
            self.settle_over::<DB>(tx).await?;
        }
        let known = self.steps.find(name);
        if let Some(Value::Kept(value)) = known {
            return Ok(Some(value));
        }
        if self.is_lost() {
            return Err(NotCommitted::Lost);
        }
        if self.commits_with_claim() {
            // All steps came with the claim.
            return if known.is_some() { Err(NotCommitted::TooLarge) } else { Ok(None) };
        }
        let step = self.as_step(name);
        let found = self.read_row::<DB>(tx, &step.key).await.ok_or(CommitError::Timeout)?;
        match found {
            Ok(None) => Ok(None),
            found => Ok(Some(self.value_of(name, &self.row_or_error(found, None)?)?)),
        }
    }

    /// Commits the transaction and with it the step's value. Gives back the value that counts: another one, if an attempt
    /// that runs at the same time has committed the step before.
    pub(super) async fn commit_step<DB: CommitDatabase>(
        &self,
        tx: Transaction<'_, DB>,
        name: &str,
        value: Bytes,
    ) -> Result<Bytes, NotCommitted> {
        self.schema()?;
        if self.commits_with_claim() {
            self.commit_with_claim(tx, name, value).await
        } else {
            self.commit_in_row(tx, name, value).await
        }
    }

    fn commits_with_claim(&self) -> bool {
        self.engine.journal.as_deref().is_some_and(Journal::is_the_store)
    }

    /// Finds out whether an earlier step was committed whose future was dropped. It asks over the handler's own
    /// connection: another one might have to wait for the handler's open transaction. The caller holds the lock for
    /// saving.
    async fn settle_over<DB: CommitDatabase>(&self, connection: &mut DB::Connection) -> Result<(), NotCommitted> {
        let Some(journal) = self.engine.journal.as_deref().filter(|_| self.steps.in_doubt()) else { return Ok(()) };
        match self.within(dialect::seen::<DB>(connection, &journal.schema().settle, &self.claim.key)).await? {
            Seen::Record { head: Head { token, state: State::Running { .. }, .. }, body, .. }
                if token == self.claim.token =>
            {
                let steps = journal.open_steps(&self.claim, body.unwrap_or_default());
                self.steps.settled(&steps.map_err(|error| CommitError::Unreadable(error.into()))?);
                Ok(())
            }
            _ => {
                self.lose("the row of the claim is no longer this attempt's");
                Err(NotCommitted::Lost)
            }
        }
    }

    async fn commit_with_claim<DB: CommitDatabase>(
        &self,
        mut tx: Transaction<'_, DB>,
        name: &str,
        value: Bytes,
    ) -> Result<Bytes, NotCommitted> {
        let journal = self.engine.journal.as_deref().ok_or(CommitError::NoDatabase)?;
        // Until the outcome is known, no other save of this attempt may write the steps without this one.
        let _saving = self.steps.saving.lock().await;
        self.settle_over::<DB>(&mut tx).await?;
        if let Some(Value::Kept(first)) = self.steps.find(name) {
            return Ok(first);
        }
        let limit = self.engine.settings.max_response;
        let steps = self.steps.with(name, &value, limit).ok_or(NotCommitted::TooLarge)?;
        let sealed = journal.to_steps(&self.claim, &steps).map_err(|error| CommitError::Response(Some(error)))?;
        // This future may be dropped at any point from here on, also after COMMIT was sent.
        self.steps.commits(name, value.clone(), steps);
        if let Err(error) = self.write_steps::<DB>(&mut tx, journal.schema(), &sealed).await {
            self.steps.not_committed();
            return Err(error);
        }
        match self.send_commit(&mut tx).await {
            Sent::Committed => self.steps.committed(),
            Sent::Refused(error) => {
                self.steps.not_committed();
                return Err(CommitError::Database(error).into());
            }
            Sent::Unanswered(lost) => {
                drop(tx);
                match journal.settle_steps(&self.claim).await {
                    Ok(Some(saved)) if self.steps.settled(&saved) => {}
                    Ok(Some(_)) => return Err(not_committed(lost).into()),
                    // The attempt that took over already has this step.
                    Ok(None) => {
                        self.lose("the row of the claim is no longer this attempt's");
                        return Err(NotCommitted::Lost);
                    }
                    // It stays in doubt. The attempt that goes on finds out.
                    Err(_) => {
                        self.lose("whether a step's transaction was committed is not known");
                        return Err(CommitError::Unknown(lost).into());
                    }
                }
            }
        }
        Ok(value)
    }

    async fn write_steps<DB: CommitDatabase>(
        &self,
        tx: &mut DB::Connection,
        schema: &Schema,
        sealed: &[u8],
    ) -> Result<(), NotCommitted> {
        if self.within(dialect::save_steps::<DB>(tx, schema, &self.claim, sealed, count())).await? {
            return Ok(());
        }
        self.lose("the row of the claim is no longer this attempt's, so a step was rolled back");
        Err(NotCommitted::Lost)
    }

    async fn commit_in_row<DB: CommitDatabase>(
        &self,
        mut tx: Transaction<'_, DB>,
        name: &str,
        value: Bytes,
    ) -> Result<Bytes, NotCommitted> {
        let journal = self.engine.journal.as_deref().ok_or(CommitError::NoDatabase)?;
        let schema = journal.schema();
        if value.len() > self.engine.settings.max_response {
            return Err(NotCommitted::TooLarge);
        }
        let step = self.as_step(name);
        let record = journal.to_row(&step, &encode_one(name, &value));
        let record = record.map_err(|error| CommitError::Response(Some(error)))?;
        let inserted = self.within(dialect::insert::<DB>(&mut tx, schema, &step, self.fence(), &record));
        let refused = match inserted.await {
            Ok(true) => match self.send_commit(&mut tx).await {
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
            Ok(false) => None,
            Err(CommitError::Database(error)) => Some(error),
            Err(error) => return Err(error.into()),
        };
        let found = self.existing_row(tx, &step.key).await?;
        Ok(self.value_of(name, &self.row_or_error(found, refused)?)?)
    }

    /// The attempt as it names the row of one of its steps. No request has this key: its parts are escaped, and so
    /// contain no colon.
    ///
    /// The row has to outlive the record of an attempt that dies at its very end.
    fn as_step(&self, name: &str) -> ClaimRequest {
        let key = StoreKey::new(format!("{}:step:{name}", self.claim.key.as_str()));
        let ttl = self.claim.retention().saturating_add(self.engine.settings.max_attempt);
        ClaimRequest { key, ttl, ..self.claim.clone() }
    }

    /// The value in a step's row.
    fn value_of(&self, name: &str, row: &Row) -> Result<Bytes, CommitError> {
        if row.fingerprint != self.claim.fingerprint {
            return Err(CommitError::KeyReused);
        }
        let value = decode_one(&row.record, name).ok_or_else(|| CommitError::Unreadable("it is no step".into()))?;
        Ok(self.committed_in_row(name, value))
    }

    fn committed_in_row(&self, name: &str, value: Bytes) -> Bytes {
        // Without a claim there is nothing to save it with.
        if self.acquired.is_some() {
            self.steps.committed_in_row(name, value.clone(), self.engine.settings.max_response);
        }
        value
    }
}
