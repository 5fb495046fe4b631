//! Runs after the handler: asks the journal about the attempt, and decides which response is stored and sent.

use bytes::Bytes;

use super::{attempt::ActiveAttempt, outcome::Outcome};
use crate::{
    error_chain::chain,
    http::response::{encode::StorableResponse, problem_texts, record, replay::REPLAYED},
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
    pub(super) async fn decide_with_journal(&self, journal: &dyn Journal, outcome: Outcome) -> (Outcome, Option<Row>) {
        let record = match &outcome {
            Outcome::Storable(storable) if !storable.recorded => Some(storable.record.clone()),
            _ => None,
        };
        match self.look(journal, record).await {
            Ok(Some(row)) => (self.answer(&row, outcome), Some(row)),
            Ok(None) => match outcome {
                Outcome::Storable(StorableResponse { recorded: true, .. }) => {
                    limited!(error, "a response was recorded in a transaction that was not committed");
                    (Outcome::Freed(self.unavailable()), None)
                }
                outcome => (outcome, None),
            },
            Err(error) => {
                limited!(error, error = %chain(&error), idempotency.outcome = "unknown", "a run ended, and the journal cannot be read");
                match outcome {
                    Outcome::Panicked(panic) => (Outcome::Panicked(panic), None),
                    Outcome::Storable(storable) if self.stands_alone(&storable) => (Outcome::Storable(storable), None),
                    _ if matches!(error, Unanswered::Unreadable(_)) => {
                        let unreadable = self.engine.settings.answer(problem_texts::record_unreadable());
                        (Outcome::Broken(unreadable), None)
                    }
                    _ => (Outcome::Broken(self.unavailable()), None),
                }
            }
        }
    }

    /// Whether the response may be sent although the journal has no row: this is a first attempt, it succeeded, and it
    /// did not use the journal. A refusal is not enough, because the handler may have refused when it found the effect
    /// of an attempt that the store has forgotten.
    fn stands_alone(&self, storable: &StorableResponse) -> bool {
        let status = storable.response.status();
        let done = status.is_success() || status.is_redirection();
        done && !storable.recorded && !self.may_have_rival() && matches!(self.progress(), Progress::Untouched)
    }

    async fn look(&self, journal: &dyn Journal, record: Option<Bytes>) -> Result<Option<Row>, Unanswered> {
        match (self.progress(), record) {
            (Progress::Closed(row), _) => Ok(Some(row)),
            (Progress::Open, _) => journal.settle(&self.attempt).await,
            // An earlier attempt that counts as dead may wake up and commit after this response was sent. So this
            // attempt writes a row too, and the table's unique key lets only one of the two commit.
            (Progress::Untouched, Some(record)) if self.may_have_rival() => {
                journal.seal(&self.attempt, self.fence(), &record).await
            }
            (Progress::Untouched, _) => journal.find(&self.attempt.key).await,
        }
    }

    /// The answer when the journal has a committed row.
    fn answer(&self, row: &Row, outcome: Outcome) -> Outcome {
        let settings = &self.engine.settings;
        let response = match outcome {
            // The handler returned the response that the journal has. Its body may be longer than the recorded copy, so
            // the handler's own response is sent.
            Outcome::Storable(storable) if storable.record == row.record && (storable.recorded || self.owns(row)) => {
                return Outcome::Storable(StorableResponse { recorded: true, ..storable });
            }
            _ if row.fingerprint != self.attempt.fingerprint => settings.answer(problem_texts::key_reused(self.scoped)),
            _ => match record::answer(&row.record) {
                Err(problem) => settings.answer(problem),
                Ok(mut response) => {
                    if self.owns(row) {
                        response.headers_mut().remove(REPLAYED);
                    }
                    response
                }
            },
        };
        Outcome::Storable(StorableResponse { record: row.record.clone(), recorded: true, unfinished: false, response })
    }

    fn unavailable(&self) -> axum::response::Response {
        self.engine.settings.answer(problem_texts::journal_unavailable())
    }
}
