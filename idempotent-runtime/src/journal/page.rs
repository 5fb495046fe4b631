//! An attempt's page in the journal: how far it has come, and what the journal says in the end.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Journal, Row, Unanswered};
use crate::{
    error_chain::chain,
    idempotency::Engine,
    outcome::{Outcome, Settled},
    record, refusal,
    replay::REPLAYED,
    store::Attempt,
};

/// What an attempt needs to write itself into the journal, shared by the engine and the handler's claim.
pub(crate) struct Page {
    pub(crate) engine: Arc<Engine>,
    pub(crate) attempt: Attempt,
    /// `None`: the store is down, and the service runs unprotected then.
    pub(crate) fence: Option<u64>,
    scoped: bool,
    progress: Mutex<Progress>,
}

/// How far an attempt has come with the journal.
#[derive(Clone, Default)]
pub(crate) enum Progress {
    /// It wrote nothing, or nothing of it was committed.
    #[default]
    Untouched,
    /// It wrote, and what became of its transaction is not known here.
    Open,
    /// This row is committed: its own, or the one that it collided with.
    Closed(Row),
}

impl Page {
    pub(crate) fn open(engine: &Arc<Engine>, attempt: Attempt, fence: Option<u64>, scoped: bool) -> Arc<Self> {
        Arc::new(Self { engine: engine.clone(), attempt, fence, scoped, progress: Mutex::default() })
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// Whether a row is of this very attempt, and so its response no replay.
    pub(crate) fn owns(&self, row: &Row) -> bool {
        row.token == self.attempt.token
    }

    /// What is answered and stored when the handler has ended. A row in the journal wins over all that the handler did
    /// after its commit or instead of it; without an answer of the journal there is none for the client either.
    pub(crate) async fn close(&self, outcome: Outcome) -> (Outcome, Option<Row>) {
        let Some(journal) = self.engine.journal.as_deref() else { return (outcome, None) };
        match self.look(journal).await {
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
                    _ => (Outcome::Broken(self.unavailable()), None),
                }
            }
        }
    }

    async fn look(&self, journal: &dyn Journal) -> Result<Option<Row>, Unanswered> {
        match self.progress() {
            Progress::Closed(row) => Ok(Some(row)),
            Progress::Open => journal.settle(&self.attempt).await,
            Progress::Untouched => journal.find(&self.attempt.key).await,
        }
    }

    /// The answer that a committed row demands.
    fn answer(&self, row: &Row, outcome: Outcome) -> Outcome {
        let settings = &self.engine.settings;
        let response = match outcome {
            // The handler answers with what is in the journal, and its body may be longer than what was recorded of it.
            Outcome::Settled(settled) if settled.recorded && settled.record == row.record => settled.response,
            _ if row.fingerprint != self.attempt.fingerprint => settings.answer(refusal::key_reused(self.scoped)),
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
        Outcome::Settled(Settled { record: row.record.clone(), without_body: None, recorded: true, response })
    }

    fn unavailable(&self) -> axum::response::Response {
        self.engine.settings.answer(refusal::journal_unavailable())
    }
}
