//! After a handler has run: what the journal says of the attempt, and what that makes of its response.

use bytes::Bytes;

use super::{attempt::ActiveAttempt, outcome::Outcome};
use crate::{
    error_chain::chain,
    journal::{Journal, Progress, Row, Unanswered},
    response::{encode::Settled, problem_texts, record, replay::REPLAYED},
};

impl ActiveAttempt {
    /// Whether a row is of this very attempt, and so its response no replay.
    pub(crate) fn owns(&self, row: &Row) -> bool {
        row.token == self.attempt.token
    }

    /// What is answered and stored when the handler has ended. A row in the journal wins over all that the handler did
    /// after its commit or instead of it; without an answer of the journal there is none for the client either, unless
    /// the journal had no part in it.
    pub(super) async fn settle_with_journal(&self, journal: &dyn Journal, outcome: Outcome) -> (Outcome, Option<Row>) {
        let record = match &outcome {
            Outcome::Settled(settled) if !settled.recorded => Some(settled.record.clone()),
            _ => None,
        };
        match self.look(journal, record).await {
            Ok(Some(row)) => (self.answer(&row, outcome), Some(row)),
            Ok(None) => match outcome {
                Outcome::Settled(Settled { recorded: true, .. }) => {
                    tracing::error!("a response was recorded in a transaction that was not committed");
                    (Outcome::Freed(self.unavailable()), None)
                }
                outcome => (outcome, None),
            },
            Err(error) => {
                tracing::error!(error = %chain(&error), idempotency.outcome = "unknown", "a run ended, and the journal cannot be read");
                match outcome {
                    Outcome::Panicked(panic) => (Outcome::Panicked(panic), None),
                    Outcome::Settled(settled) if self.stands_alone(&settled) => (Outcome::Settled(settled), None),
                    _ if matches!(error, Unanswered::Unreadable(_)) => {
                        let unreadable = self.engine.settings.answer(problem_texts::record_unreadable());
                        (Outcome::Broken(unreadable), None)
                    }
                    _ => (Outcome::Broken(self.unavailable()), None),
                }
            }
        }
    }

    /// Whether a response may be sent though the journal says nothing: a first attempt did what it was asked for, and
    /// the journal had no part in it. A refusal may be the handler's own check, which found the effect of an attempt
    /// that the store has forgotten.
    fn stands_alone(&self, settled: &Settled) -> bool {
        let status = settled.response.status();
        let done = status.is_success() || status.is_redirection();
        done && !settled.recorded && !self.may_have_rival() && matches!(self.progress(), Progress::Untouched)
    }

    async fn look(&self, journal: &dyn Journal, record: Option<Bytes>) -> Result<Option<Row>, Unanswered> {
        match (self.progress(), record) {
            (Progress::Closed(row), _) => Ok(Some(row)),
            (Progress::Open, _) => journal.settle(&self.attempt).await,
            // An attempt that was taken for dead may wake up and commit after this one has said no, and nobody would ever
            // be told. The key's row decides between them.
            (Progress::Untouched, Some(record)) if self.may_have_rival() => {
                journal.seal(&self.attempt, self.fence(), &record).await
            }
            (Progress::Untouched, _) => journal.find(&self.attempt.key).await,
        }
    }

    /// The answer that a committed row demands.
    fn answer(&self, row: &Row, outcome: Outcome) -> Outcome {
        let settings = &self.engine.settings;
        let response = match outcome {
            // The handler answers with what is in the journal, and its body may be longer than what was recorded of it.
            Outcome::Settled(settled) if settled.record == row.record && (settled.recorded || self.owns(row)) => {
                return Outcome::Settled(Settled { recorded: true, ..settled });
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
        Outcome::Settled(Settled { record: row.record.clone(), recorded: true, unfinished: false, response })
    }

    fn unavailable(&self) -> axum::response::Response {
        self.engine.settings.answer(problem_texts::journal_unavailable())
    }
}
