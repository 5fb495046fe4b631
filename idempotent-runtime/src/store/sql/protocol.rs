//! Runs the statements that renew and end a claim, and interprets their results.

use std::{sync::atomic::AtomicU64, time::Duration};

use bytes::Bytes;

use super::{
    database::{Database, Parameter},
    error::Failure,
    parameters::{fingerprint, finish, key, millis, number, running, token},
    present::{Columns, Finished, Present},
    retry::Retry,
    statements::{DONE, RECOVERING, RUNNING, Statements},
};
use crate::{
    sql::schema::DatabaseKind,
    store::{
        Acquired, ClaimRequest, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome, SaveOutcome,
        StoreError, StoreKey,
    },
};

/// The calls to the database of one store.
pub(super) struct Protocol {
    pub(super) database: Database,
    pub(super) statements: Statements,
    pub(super) kind: DatabaseKind,
    pub(super) timeout: Duration,
    /// The largest fencing token that this process was given. The next one from the database's clock is larger, unless
    /// that clock was set back.
    pub(super) last_fence: AtomicU64,
}

impl Protocol {
    pub(super) async fn renew(&self, attempt: &ClaimRequest, held: &Acquired) -> Result<RenewOutcome, StoreError> {
        let statement = (
            &self.statements.renew,
            vec![key(&attempt.key), token(attempt), millis(attempt.lease), millis(attempt.retention())],
        );
        let state = if held.recovering { RECOVERING } else { RUNNING };
        let anew = running(attempt, held.fence, state, &held.steps);
        Ok(match self.change_ours(attempt, statement, anew).await? {
            Change::Made => RenewOutcome::Renewed,
            Change::Inserted => RenewOutcome::Recreated,
            Change::Done => RenewOutcome::Completed,
            Change::NotOurs => RenewOutcome::Lost,
        })
    }

    pub(super) async fn complete(
        &self,
        attempt: &ClaimRequest,
        fence: u64,
        record: Bytes,
    ) -> Result<CompleteOutcome, StoreError> {
        let statement = (&self.statements.complete, finish(attempt, fence, record.clone()));
        let (key, token) = (key(&attempt.key), token(attempt));
        let (fingerprint, record) = (fingerprint(attempt), Parameter::Bytes(record));
        let (state, no_lease, no_steps) = (Parameter::Number(DONE), Parameter::NoNumber, Parameter::NoBytes);
        let finished =
            vec![key, fingerprint, token, number(fence), state, no_lease, millis(attempt.ttl), no_steps, record];
        Ok(match self.change_ours(attempt, statement, finished).await? {
            Change::Made | Change::Inserted => CompleteOutcome::Stored,
            Change::Done => CompleteOutcome::AlreadyStored,
            Change::NotOurs => CompleteOutcome::Lost,
        })
    }

    pub(super) async fn replace(
        &self,
        attempt: &ClaimRequest,
        fence: u64,
        record: Bytes,
    ) -> Result<CompleteOutcome, StoreError> {
        let parameters = finish(attempt, fence, record);
        let mut retry = Retry::within(self.timeout);
        loop {
            if self.write(&self.statements.replace, parameters.clone()).await?.is_some() {
                return Ok(CompleteOutcome::Stored);
            }
            match self.look(&attempt.key).await? {
                Present::Row(row) if row.token == attempt.token && row.is_done() => {}
                _ => return Ok(CompleteOutcome::Lost),
            }
            if !retry.pause().await {
                return Err(StoreError::Timeout);
            }
        }
    }

    pub(super) async fn save_steps(
        &self,
        attempt: &ClaimRequest,
        fence: u64,
        steps: &Bytes,
    ) -> Result<SaveOutcome, StoreError> {
        let statement =
            (&self.statements.save_steps, vec![key(&attempt.key), token(attempt), Parameter::Bytes(steps.clone())]);
        let anew = running(attempt, fence, RECOVERING, steps);
        Ok(match self.change_ours(attempt, statement, anew).await? {
            Change::Made | Change::Inserted => SaveOutcome::Saved,
            Change::Done | Change::NotOurs => SaveOutcome::Lost,
        })
    }

    /// Changes the running row of this attempt. If the key has no row any more, inserts `anew`.
    async fn change_ours(
        &self,
        attempt: &ClaimRequest,
        (statement, parameters): (&String, Vec<Parameter>),
        anew: Vec<Parameter>,
    ) -> Result<Change, StoreError> {
        let mut retry = Retry::within(self.timeout);
        loop {
            if self.write(statement, parameters.clone()).await?.is_some() {
                return Ok(Change::Made);
            }
            match self.look(&attempt.key).await? {
                Present::Nothing => {
                    if self.write(&self.statements.insert, anew.clone()).await?.is_some() {
                        return Ok(Change::Inserted);
                    }
                }
                Present::Row(row) if row.token == attempt.token => {
                    if row.is_done() {
                        return Ok(Change::Done);
                    }
                    // The attempt's own transaction has locked the row.
                }
                Present::Row(_) | Present::Unreadable => return Ok(Change::NotOurs),
            }
            if !retry.pause().await {
                return Err(StoreError::Timeout);
            }
        }
    }

    pub(super) async fn release(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        // If the effects of an earlier attempt are still unknown, or steps are saved, only the lease ends.
        self.end(attempt, &[&self.statements.free, &self.statements.abandon]).await
    }

    pub(super) async fn abandon(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        self.end(attempt, &[&self.statements.abandon]).await
    }

    /// Runs the statements in order until one changes a row.
    async fn end(&self, attempt: &ClaimRequest, statements: &[&str]) -> Result<ReleaseOutcome, StoreError> {
        let mut retry = Retry::within(self.timeout);
        loop {
            for statement in statements {
                if self.write(statement, vec![key(&attempt.key), token(attempt)]).await?.is_some() {
                    return Ok(ReleaseOutcome::Ended);
                }
            }
            match self.look(&attempt.key).await? {
                Present::Row(row) if row.token == attempt.token && !row.is_done() => {}
                _ => return Ok(ReleaseOutcome::NotOurs),
            }
            if !retry.pause().await {
                return Err(StoreError::Timeout);
            }
        }
    }

    pub(super) async fn forget(&self, name: &StoreKey) -> Result<ForgetOutcome, StoreError> {
        let mut retry = Retry::within(self.timeout);
        loop {
            if self.write(&self.statements.forget, vec![key(name)]).await?.is_some() {
                return Ok(ForgetOutcome::Forgotten);
            }
            match self.look(name).await?.lookup() {
                Lookup::Absent => return Ok(ForgetOutcome::Absent),
                Lookup::Running { left, .. } if !left.is_zero() => return Ok(ForgetOutcome::Running { left }),
                _ if retry.pause().await => {}
                _ => return Err(StoreError::Timeout),
            }
        }
    }

    /// The stored response of a key.
    pub(super) async fn finished(&self, name: &StoreKey) -> Result<Option<Finished>, StoreError> {
        self.look(name).await?.finished()
    }

    /// Like [`finished`](Self::finished), but waits for a transaction that has changed the row and is still open. Its
    /// COMMIT may have got no answer.
    pub(super) async fn settle(&self, name: &StoreKey) -> Result<Option<Finished>, StoreError> {
        self.settled(name).await?.finished()
    }

    /// The steps of an attempt that has the key, when no transaction that has changed its row is open any more.
    pub(super) async fn settle_steps(&self, attempt: &ClaimRequest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.settled(&attempt.key).await?.steps_of(attempt))
    }

    async fn settled(&self, name: &StoreKey) -> Result<Present, StoreError> {
        let mut retry = Retry::within(self.timeout);
        loop {
            if let Some(row) = self.write(&self.statements.settle, vec![key(name)]).await? {
                return Ok(Present::read(Some(row)));
            }
            match self.look(name).await? {
                // The row is locked, or was a moment ago.
                Present::Row(row) if !row.is_done() => {}
                present => return Ok(present),
            }
            if !retry.pause().await {
                return Err(StoreError::Timeout);
            }
        }
    }

    pub(super) async fn look(&self, name: &StoreKey) -> Result<Present, StoreError> {
        Ok(Present::read(self.database.read(&self.statements.look, vec![key(name)]).await?))
    }

    /// The database's clock, in microseconds since 1970.
    pub(super) async fn clock(&self) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.database.number(&self.statements.clock).await?).unwrap_or(0))
    }

    /// Runs a statement that changes a row. If it lost against another transaction, it has changed nothing.
    pub(super) async fn write(&self, sql: &str, parameters: Vec<Parameter>) -> Result<Option<Columns>, Failure> {
        match self.database.write(sql, parameters).await {
            Err(Failure::Conflict) => Ok(None),
            answer => answer,
        }
    }
}

/// The result of changing an attempt's own row.
enum Change {
    Made,
    /// The row was gone and has been inserted again.
    Inserted,
    /// The attempt has completed.
    Done,
    NotOurs,
}
