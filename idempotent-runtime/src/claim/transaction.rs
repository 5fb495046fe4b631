//! Calls over the user's own transaction, each with a deadline, and what their answers mean.

use std::{error::Error, future::Future, time::Duration};

use sqlx::Transaction;
use tokio::time::timeout;

use super::committed::CommitError;
use crate::{
    engine::ActiveAttempt,
    journal::{Journal, JournalWrite, Row, Unanswered},
    store::{
        StoreKey,
        sql::{CommitDatabase, Schema, dialect},
    },
    telemetry::limited,
};

impl ActiveAttempt {
    /// The statements for this transaction, if it may be committed for the attempt.
    pub(super) async fn schema_for<DB: CommitDatabase>(&self, tx: &mut DB::Connection) -> Result<&Schema, CommitError> {
        let schema = self.schema()?;
        if !DB::is(schema) {
            return Err(CommitError::OtherDatabase);
        }
        if self.within(dialect::in_savepoint::<DB>(tx)).await? { Err(CommitError::Savepoint) } else { Ok(schema) }
    }

    pub(super) fn schema(&self) -> Result<&Schema, CommitError> {
        if self.has_ended() {
            return Err(CommitError::Ended);
        }
        if matches!(self.journal_write(), JournalWrite::Committed(_)) {
            return Err(CommitError::Twice);
        }
        self.engine.journal.as_deref().map(Journal::schema).ok_or(CommitError::NoDatabase)
    }

    fn limit(&self) -> Duration {
        self.engine.journal.as_deref().map(Journal::timeout).unwrap_or_default()
    }

    /// A call over the user's transaction, within the time limit.
    pub(super) async fn within<T>(&self, call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, CommitError> {
        match timeout(self.limit(), call).await {
            Ok(answer) => answer.map_err(CommitError::Database),
            Err(_) => Err(CommitError::Timeout),
        }
    }

    pub(super) async fn send_commit<DB: CommitDatabase>(&self, tx: &mut Transaction<'_, DB>) -> Sent {
        let lost: Box<dyn Error + Send + Sync> = match timeout(self.limit(), dialect::commit::<DB>(tx)).await {
            Ok(Ok(())) => return Sent::Committed,
            // The connection works, so this transaction is over.
            Ok(Err(error @ sqlx::Error::Database(_))) if self.roll_back(tx).await => return Sent::Refused(error),
            Ok(Err(error)) => error.into(),
            Err(elapsed) => elapsed.into(),
        };
        limited!(COMMIT_UNANSWERED; self.about(), error = %lost);
        Sent::Unanswered(lost)
    }

    /// Rolls the transaction back, so that its connection can be used again. Returns false if there was no answer.
    /// Nothing is committed in that case either, because COMMIT was not sent or was refused.
    pub(super) async fn roll_back<DB: CommitDatabase>(&self, tx: &mut Transaction<'_, DB>) -> bool {
        let ended = matches!(timeout(self.limit(), dialect::roll_back::<DB>(tx)).await, Ok(Ok(())));
        if !ended {
            limited!(ROLLBACK_UNANSWERED; self.about());
        }
        ended
    }

    /// Rolls back, and reads the row that was in the way.
    ///
    /// Reads the row over the caller's own connection. The pool may have no other free connection while the caller
    /// holds this one.
    pub(super) async fn existing_row<DB: CommitDatabase>(
        &self,
        mut tx: Transaction<'_, DB>,
        key: &StoreKey,
    ) -> Result<Result<Option<Row>, Unanswered>, CommitError> {
        let found = if self.roll_back(&mut tx).await { self.read_row::<DB>(&mut tx, key).await } else { None };
        drop(tx);
        match (found, self.engine.journal.as_deref()) {
            (Some(found), _) => Ok(found),
            (None, Some(journal)) => Ok(journal.existing_row(key).await),
            (None, None) => Err(CommitError::NoDatabase),
        }
    }

    /// A committed row, read over the caller's connection. `None` if the connection does not answer.
    pub(super) async fn read_row<DB: CommitDatabase>(
        &self,
        connection: &mut DB::Connection,
        key: &StoreKey,
    ) -> Option<Result<Option<Row>, Unanswered>> {
        let journal = self.engine.journal.as_deref()?;
        let seen = timeout(self.limit(), dialect::seen::<DB>(connection, &journal.schema().read, key)).await.ok()?;
        match seen.map_err(Unanswered::from).and_then(Row::committed) {
            Ok(row) => Some(row.map(|row| journal.open(key, row)).transpose()),
            Err(unreadable @ Unanswered::Unreadable(_)) => Some(Err(unreadable)),
            Err(_) => None,
        }
    }

    /// The row that was in the way, or what its absence means.
    pub(super) fn row_or_error(
        &self,
        found: Result<Option<Row>, Unanswered>,
        refused: Option<sqlx::Error>,
    ) -> Result<Row, CommitError> {
        let is_the_store = self.engine.journal.as_deref().is_some_and(Journal::is_the_store);
        match (found, refused) {
            (Ok(Some(row)), _) => Ok(row),
            (Err(Unanswered::Unreadable(error)), _) => Err(CommitError::Unreadable(error)),
            (_, Some(refused)) => Err(CommitError::Database(refused)),
            (Ok(None), None) if is_the_store => Err(CommitError::Lost),
            (Ok(None), None) => Err(CommitError::Database(sqlx::Error::RowNotFound)),
            (Err(_), None) => Err(CommitError::Timeout),
        }
    }
}

/// The result of a COMMIT.
pub(super) enum Sent {
    Committed,
    /// It is rolled back.
    Refused(sqlx::Error),
    /// It may be committed, now or later.
    Unanswered(Box<dyn Error + Send + Sync>),
}

/// The error of a COMMIT that got no good answer, when it is known that nothing was committed.
pub(super) fn not_committed(lost: Box<dyn Error + Send + Sync>) -> CommitError {
    match lost.downcast::<sqlx::Error>() {
        Ok(error) => CommitError::Database(*error),
        Err(_) => CommitError::Timeout,
    }
}
