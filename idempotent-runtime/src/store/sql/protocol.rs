//! Runs the statements that make, renew and end a claim, and interprets their results.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{
    database::{Database, Parameter},
    error::Failure,
    parameters::{fingerprint, finish, key, millis, number, running, token},
    present::{Columns, Finished, Present, Verdict},
    statements::{DONE, RECOVERING, RUNNING, Statements},
};
use crate::{
    sql::schema::DatabaseKind,
    store::{
        Acquired, Attempt, ClaimOutcome, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome,
        SaveOutcome, StoreError, StoreKey,
    },
};

/// How long a claim keeps trying to get a row that another transaction has locked. After that the key counts as
/// running.
const LOCKED_FOR: Duration = Duration::from_millis(150);
const FIRST_PAUSE: Duration = Duration::from_millis(5);

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

/// Repeats a statement whose row is locked, or whose row appears and disappears between two statements.
struct Again {
    end: Instant,
    pause: Duration,
}

impl Again {
    fn within(limit: Duration) -> Self {
        Self { end: Instant::now() + limit, pause: FIRST_PAUSE }
    }

    /// Waits a moment. Returns whether there is time for another try.
    async fn pause(&mut self) -> bool {
        if Instant::now() + self.pause >= self.end {
            return false;
        }
        sleep(self.pause).await;
        self.pause *= 2;
        true
    }
}

impl Protocol {
    pub(super) async fn claim(&self, attempt: &Attempt) -> Result<ClaimOutcome, StoreError> {
        let mut again = Again::within(LOCKED_FOR);
        loop {
            let present = match self.claim_or_look(attempt).await {
                Err(Failure::NotWritable(error)) => return self.without_writing(attempt, error).await,
                present => Present::read(present?),
            };
            let taken = match present.judge(attempt) {
                Verdict::Answer(outcome) => return Ok(self.noted(outcome)),
                // If the statement found no row, it has inserted one. Another attempt may have been faster here.
                Verdict::Free => self.write(&self.statements.insert_claim, self.first_claim(attempt)).await,
                Verdict::Dead => self.write(&self.statements.take_over, self.fresh(attempt)).await,
            };
            match taken {
                Ok(Some(row)) => {
                    if let Verdict::Answer(outcome) = Present::read(Some(row)).judge(attempt) {
                        return Ok(self.noted(outcome));
                    }
                }
                Ok(None) => {}
                Err(Failure::NotWritable(error)) => return self.without_writing(attempt, error).await,
                Err(failure) => return Err(failure.into()),
            }
            if !again.pause().await {
                // A transaction has locked the row: it belongs to the attempt whose lease is over, or to that attempt's
                // commit.
                return Ok(ClaimOutcome::Running { left: Duration::ZERO });
            }
        }
    }

    /// The existing row, or the one that is inserted now.
    async fn claim_or_look(&self, attempt: &Attempt) -> Result<Option<Columns>, Failure> {
        match self.kind {
            #[cfg(feature = "sqlx-sqlite")]
            DatabaseKind::Sqlite => self.database.read(&self.statements.look, vec![key(&attempt.key)]).await,
            #[cfg(feature = "sqlx-postgres")]
            DatabaseKind::Postgres => self.write(&self.statements.claim, self.fresh(attempt)).await,
        }
    }

    /// The database cannot be written now. A key that has a record is still answered, so that replays go on.
    async fn without_writing(&self, attempt: &Attempt, error: StoreError) -> Result<ClaimOutcome, StoreError> {
        match (self.look(&attempt.key).await?.judge(attempt), &error) {
            // A standby may lag behind. A claim that looks like ours there may have been taken over.
            (Verdict::Free, _) | (Verdict::Answer(ClaimOutcome::Acquired(_)), StoreError::Refused(_)) => Err(error),
            (Verdict::Answer(outcome), _) => Ok(outcome),
            // The attempt died, and the key cannot be taken over now. An error would claim that nothing is known of the
            // key.
            (Verdict::Dead, _) => Ok(ClaimOutcome::Running { left: Duration::ZERO }),
        }
    }

    pub(super) async fn renew(&self, attempt: &Attempt, held: &Acquired) -> Result<RenewOutcome, StoreError> {
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
        attempt: &Attempt,
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
        attempt: &Attempt,
        fence: u64,
        record: Bytes,
    ) -> Result<CompleteOutcome, StoreError> {
        let parameters = finish(attempt, fence, record);
        let mut again = Again::within(self.timeout);
        loop {
            if self.write(&self.statements.replace, parameters.clone()).await?.is_some() {
                return Ok(CompleteOutcome::Stored);
            }
            match self.look(&attempt.key).await? {
                Present::Row(row) if row.token == attempt.token && row.is_done() => {}
                _ => return Ok(CompleteOutcome::Lost),
            }
            if !again.pause().await {
                return Err(StoreError::Timeout);
            }
        }
    }

    pub(super) async fn save_steps(
        &self,
        attempt: &Attempt,
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
        attempt: &Attempt,
        (statement, parameters): (&String, Vec<Parameter>),
        anew: Vec<Parameter>,
    ) -> Result<Change, StoreError> {
        let mut again = Again::within(self.timeout);
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
            if !again.pause().await {
                return Err(StoreError::Timeout);
            }
        }
    }

    pub(super) async fn release(&self, attempt: &Attempt) -> Result<ReleaseOutcome, StoreError> {
        // If the effects of an earlier attempt are still unknown, or steps are saved, only the lease ends.
        self.end(attempt, &[&self.statements.free, &self.statements.abandon]).await
    }

    pub(super) async fn abandon(&self, attempt: &Attempt) -> Result<ReleaseOutcome, StoreError> {
        self.end(attempt, &[&self.statements.abandon]).await
    }

    /// Runs the statements in order until one changes a row.
    async fn end(&self, attempt: &Attempt, statements: &[&str]) -> Result<ReleaseOutcome, StoreError> {
        let mut again = Again::within(self.timeout);
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
            if !again.pause().await {
                return Err(StoreError::Timeout);
            }
        }
    }

    pub(super) async fn forget(&self, name: &StoreKey) -> Result<ForgetOutcome, StoreError> {
        let mut again = Again::within(self.timeout);
        loop {
            if self.write(&self.statements.forget, vec![key(name)]).await?.is_some() {
                return Ok(ForgetOutcome::Forgotten);
            }
            match self.look(name).await?.lookup() {
                Lookup::Absent => return Ok(ForgetOutcome::Absent),
                Lookup::Running { left, .. } if !left.is_zero() => return Ok(ForgetOutcome::Running { left }),
                _ if again.pause().await => {}
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
    pub(super) async fn settle_steps(&self, attempt: &Attempt) -> Result<Option<Bytes>, StoreError> {
        Ok(self.settled(&attempt.key).await?.steps_of(attempt))
    }

    async fn settled(&self, name: &StoreKey) -> Result<Present, StoreError> {
        let mut again = Again::within(self.timeout);
        loop {
            if let Some(row) = self.write(&self.statements.settle, vec![key(name)]).await? {
                return Ok(Present::read(Some(row)));
            }
            match self.look(name).await? {
                // The row is locked, or was a moment ago.
                Present::Row(row) if !row.is_done() => {}
                present => return Ok(present),
            }
            if !again.pause().await {
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
    async fn write(&self, sql: &str, parameters: Vec<Parameter>) -> Result<Option<Columns>, Failure> {
        match self.database.write(sql, parameters).await {
            Err(Failure::Conflict) => Ok(None),
            answer => answer,
        }
    }

    fn fresh(&self, attempt: &Attempt) -> Vec<Parameter> {
        let Attempt { lease, .. } = attempt;
        let (fence, kept) = (number(self.least_fence()), millis(attempt.retention()));
        vec![key(&attempt.key), fingerprint(attempt), token(attempt), fence, millis(*lease), kept]
    }

    fn first_claim(&self, attempt: &Attempt) -> Vec<Parameter> {
        running(attempt, self.least_fence(), RUNNING, &Bytes::new())
    }

    /// The smallest value for the next fencing token. SQLite's clock has only milliseconds; it is the clock of this
    /// machine, which the process reads itself.
    fn least_fence(&self) -> u64 {
        let next = self.last_fence.load(Relaxed).saturating_add(1);
        match self.kind {
            #[cfg(feature = "sqlx-sqlite")]
            DatabaseKind::Sqlite => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                next.max(u64::try_from(since.as_micros()).unwrap_or(0))
            }
            #[cfg(feature = "sqlx-postgres")]
            DatabaseKind::Postgres => next,
        }
    }

    fn noted(&self, outcome: ClaimOutcome) -> ClaimOutcome {
        if let ClaimOutcome::Acquired(Acquired { fence, .. }) = &outcome {
            self.last_fence.fetch_max(*fence, Relaxed);
        }
        outcome
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
