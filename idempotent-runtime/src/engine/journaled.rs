//! Runs after the handler: asks the journal about the attempt, and decides which response is stored and sent.

use bytes::Bytes;

use super::{
    attempt::ActiveAttempt,
    outcome::{Outcome, Recordable, Refused, Reply, Stored},
};
use crate::{
    error_chain::chain,
    journal::{Journal, Progress, Row, Unanswered},
    telemetry::limited,
};

impl ActiveAttempt {
    /// Whether this attempt wrote the row. If another attempt wrote it, the row's response is a replay.
    pub(crate) fn owns(&self, row: &Row) -> bool {
        row.token == self.attempt.token
    }

    /// Decides what is stored and sent after the handler has ended. A committed row in the journal is always the
    /// answer, whatever the handler returned. If the journal gives no answer, the client gets an error, unless the
    /// attempt did not use the journal.
    pub(super) async fn decide_with_journal<T: Recordable>(
        &self,
        journal: &dyn Journal,
        outcome: Outcome<T>,
    ) -> (Outcome<Reply<T>>, Option<Row>) {
        let record = match &outcome {
            Outcome::Stored(stored) if !stored.recorded => Some(stored.record.clone()),
            _ => None,
        };
        match self.look(journal, record).await {
            Ok(Some(row)) => (self.answer(&row, outcome), Some(row)),
            Ok(None) => match outcome {
                Outcome::Stored(Stored { recorded: true, .. }) => {
                    limited!(NOT_COMMITTED_BY_HANDLER; self.about());
                    (Outcome::Freed(Reply::Refused(Refused::JournalUnavailable)), None)
                }
                outcome => (outcome.replied(), None),
            },
            Err(error) => {
                limited!(COMMITS_UNREAD_AFTER; self.about(), error = %chain(&error), idempotency.outcome = "unknown");
                let outcome = match outcome {
                    Outcome::Panicked(panic) => Outcome::Panicked(panic),
                    Outcome::Stored(stored) if self.stands_alone(&stored) => Outcome::Stored(stored).replied(),
                    _ if matches!(error, Unanswered::Unreadable(_)) => {
                        Outcome::Broken(Reply::Refused(Refused::Unreadable))
                    }
                    _ => Outcome::Broken(Reply::Refused(Refused::JournalUnavailable)),
                };
                (outcome, None)
            }
        }
    }

    /// Whether the value may be sent although the journal has no row: this is a first attempt, it succeeded, and it did
    /// not use the journal. A refusal is not enough, because the handler may have refused when it found the effect of
    /// an attempt that the store has forgotten.
    fn stands_alone<T: Recordable>(&self, stored: &Stored<T>) -> bool {
        let untouched = matches!(self.progress(), Progress::Untouched);
        stored.value.is_success() && !stored.recorded && !self.may_have_rival() && untouched
    }

    async fn look(&self, journal: &dyn Journal, record: Option<Bytes>) -> Result<Option<Row>, Unanswered> {
        match (self.progress(), record) {
            (Progress::Closed(row), _) => Ok(Some(row)),
            // A transaction that was rolled back protects no more than one that was never begun.
            (Progress::Open, record) => match (journal.settle(&self.attempt).await?, record) {
                (None, Some(record)) if self.may_have_rival() => {
                    journal.write_row(&self.attempt, self.fence(), &record).await
                }
                (found, _) => Ok(found),
            },
            // An earlier attempt that counts as dead may wake up and commit after this response was sent. So this
            // attempt writes a row too, and the table's unique key lets only one of the two commit.
            (Progress::Untouched, Some(record)) if self.may_have_rival() => {
                journal.write_row(&self.attempt, self.fence(), &record).await
            }
            (Progress::Untouched, _) => journal.find(&self.attempt.key).await,
        }
    }

    /// The outcome when the journal has a committed row.
    fn answer<T>(&self, row: &Row, outcome: Outcome<T>) -> Outcome<Reply<T>> {
        let value = match outcome {
            // The handler returned the response that the journal has. Its body may be longer than the recorded copy, so
            // the handler's own response is sent.
            Outcome::Stored(stored) if stored.record == row.record && (stored.recorded || self.owns(row)) => {
                return Outcome::Stored(Stored { recorded: true, ..stored }).replied();
            }
            _ if row.fingerprint != self.attempt.fingerprint => Reply::Refused(Refused::OtherRequest),
            _ if self.owns(row) => Reply::Committed(row.record.clone()),
            _ => Reply::Replayed(row.record.clone()),
        };
        Outcome::Stored(Stored { record: row.record.clone(), recorded: true, unfinished: false, value })
    }
}
