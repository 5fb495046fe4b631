//! An attempt's page in the journal: how far it has come, and what the journal says in the end.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::http::Extensions;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Engine, outcome::Outcome};
use crate::{
    error_chain::chain,
    journal::{Journal, Progress, Row, Unanswered},
    request::key::Key,
    response::{encode::Settled, problem_texts, record, replay::REPLAYED},
    store::Attempt,
};

/// What an attempt needs to write itself into the journal, shared by the engine and the handler's claim.
pub(crate) struct Page {
    pub(crate) engine: Arc<Engine>,
    pub(crate) attempt: Attempt,
    /// `None`: the store is down, and the service runs unprotected then.
    pub(crate) fence: Option<u64>,
    /// Whether an earlier attempt at the key may be running still.
    contested: bool,
    pub(crate) recovering: bool,
    scoped: bool,
    progress: Mutex<Progress>,
}

impl Page {
    /// `contested`: an earlier attempt died, or there is no claim at all, so that another one may be running.
    pub(crate) fn open(
        engine: &Arc<Engine>,
        attempt: Attempt,
        fence: Option<u64>,
        contested: bool,
        scoped: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine: engine.clone(),
            attempt,
            fence,
            contested,
            recovering: contested && fence.is_some(),
            scoped,
            progress: Mutex::default(),
        })
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
    /// after its commit or instead of it; without an answer of the journal there is none for the client either, unless
    /// the journal had no part in it.
    pub(crate) async fn close(&self, outcome: Outcome) -> (Outcome, Option<Row>) {
        let Some(journal) = self.engine.journal.as_deref() else { return (outcome, None) };
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
        done && !settled.recorded && !self.contested && matches!(self.progress(), Progress::Untouched)
    }

    async fn look(&self, journal: &dyn Journal, record: Option<Bytes>) -> Result<Option<Row>, Unanswered> {
        match (self.progress(), record) {
            (Progress::Closed(row), _) => Ok(Some(row)),
            (Progress::Open, _) => journal.settle(&self.attempt).await,
            // An attempt that was taken for dead may wake up and commit after this one has said no, and nobody would ever
            // be told. The key's row decides between them.
            (Progress::Untouched, Some(record)) if self.contested => {
                journal.seal(&self.attempt, self.fence.unwrap_or(0), &record).await
            }
            (Progress::Untouched, _) => journal.find(&self.attempt.key).await,
        }
    }

    /// The answer that a committed row demands.
    fn answer(&self, row: &Row, outcome: Outcome) -> Outcome {
        let settings = &self.engine.settings;
        let response = match outcome {
            // The handler answers with what is in the journal, and its body may be longer than what was recorded of it.
            Outcome::Settled(settled) if settled.recorded && settled.record == row.record => settled.response,
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
        Outcome::Settled(Settled { record: row.record.clone(), without_body: None, recorded: true, response })
    }

    fn unavailable(&self) -> axum::response::Response {
        self.engine.settings.answer(problem_texts::journal_unavailable())
    }
}

/// Where the engine leaves what it granted, and the extractor finds it.
#[derive(Default)]
pub(crate) struct ClaimCell {
    pub(crate) grant: OnceLock<Grant>,
    /// What keys are derived from when the request has none of its own.
    pub(crate) nonce: OnceLock<Uuid>,
}

/// What an attempt was given.
pub(crate) struct Grant {
    pub(crate) key: Key,
    pub(crate) page: Arc<Page>,
    /// `None` when the attempt runs without a claim, in an outage.
    pub(crate) claimed: Option<Claimed>,
}

/// What comes with a claim.
pub(crate) struct Claimed {
    pub(crate) fence: u64,
    pub(crate) recovering: bool,
    pub(crate) lost: CancellationToken,
}

impl ClaimCell {
    /// The request's slot; whoever asks first, an extractor or the engine, makes it.
    ///
    /// One that is filled is the claim of a handler that passed its request on: the next one's is another.
    pub(crate) fn of(extensions: &mut Extensions) -> Arc<Self> {
        let slot = extensions.get_or_insert_default::<Arc<Self>>();
        if slot.grant.get().is_some() {
            *slot = Arc::default();
        }
        slot.clone()
    }

    pub(crate) fn fill(&self, grant: Grant) {
        // It is empty: `of` gave it to this request alone.
        let _ = self.grant.set(grant);
    }
}
