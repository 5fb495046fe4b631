//! Ends an attempt: asks the journal which response counts, and stores the record, or ends the claim without one. If the
//! store does not take that in time, the caller gets its reply first, and the store is asked again in the background.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    attempt::ActiveAttempt,
    background::{End, Later, Reserved, Unsaved, end_in_background},
    outcome::{Outcome, Panic, Recordable, Refused, Reply, Stored},
    steps::NotSaved,
};
use crate::{
    error_chain::chain,
    journal::{Journal, JournalWrite, Row, Unanswered},
    store::{
        ClaimRequest, Claims as _, CompleteOutcome, StoreError,
        deadline::{self, RetryUntil},
    },
    telemetry::limited,
};

/// Decides which outcome counts. Also returns the claim to store the record under, if that is not the attempt's own: the
/// journal may have the row of an earlier attempt.
pub(super) async fn decide<T: Recordable>(
    active: &ActiveAttempt,
    outcome: Outcome<T>,
) -> (Outcome<Reply<T>>, Option<Box<ClaimRequest>>) {
    match active.engine.journal.as_deref() {
        None => (outcome.replied(), None),
        Some(journal) => Box::pin(active.decide_with_journal(journal, outcome)).await,
    }
}

/// Ends an attempt by its outcome. `row`: the claim to store the record under, if that is not the attempt's own.
///
/// This and [`store`] are plain functions, since an `async fn` would keep a second copy of each argument that it moves.
#[expect(clippy::manual_async_fn, reason = "see above")]
pub(super) fn finish<T: Recordable>(
    active: &Arc<ActiveAttempt>,
    outcome: Outcome<Reply<T>>,
    row: Option<Box<ClaimRequest>>,
    reserved: Reserved,
) -> impl Future<Output = Result<Reply<T>, Panic>> + Send {
    async move {
        let (how, replied) = match outcome {
            Outcome::Stored(stored) => return Ok(store(active, stored, row, reserved).await),
            Outcome::Freed(reply) => (End::Release, Ok(reply)),
            Outcome::Broken(reply) => (End::Abandon, Ok(reply)),
            Outcome::Panicked(panic) => (End::Abandon, Err(panic)),
        };
        // Failures are rarer than responses, so their future has its own box.
        Box::pin(end(active, how, reserved)).await;
        replied
    }
}

/// Stores a record.
#[expect(clippy::manual_async_fn, reason = "see above")]
fn store<T: Recordable>(
    active: &Arc<ActiveAttempt>,
    stored: Stored<Reply<T>>,
    row: Option<Box<ClaimRequest>>,
    reserved: Reserved,
) -> impl Future<Output = Reply<T>> + Send {
    async move {
        let claim = row.as_deref().unwrap_or(&active.claim);
        let completed = complete(active, claim, &stored.record, stored.recorded).await;
        let Stored { record, recorded, unfinished, value } = stored;
        let later = |stored| Later { active: Arc::clone(active), claim: claim.clone(), stored };
        let later = match completed {
            Ok(completed) => {
                active.report_completed(completed);
                drop(reserved);
                (unfinished && completed != CompleteOutcome::Lost).then(|| later(true))
            }
            Err(error) => {
                limited!(STORED_LATER; active.about(), error = %chain(&error));
                // If the journal has the record, it cannot be lost, and no shorter one is needed.
                let shorter = match &value {
                    Reply::Value(value) if !recorded => Some(value.without_content()),
                    _ => None,
                };
                Unsaved { claim: claim.clone(), record, shorter }.store_in_background(active, reserved);
                unfinished.then(|| later(false))
            }
        };
        match (value, later) {
            (Reply::Value(value), Some(later)) => Reply::Value(value.store_later(later)),
            (reply, _) => reply,
        }
    }
}

async fn complete(
    active: &ActiveAttempt,
    claim: &ClaimRequest,
    record: &Bytes,
    recorded: bool,
) -> Result<CompleteOutcome, StoreError> {
    let engine = &active.engine;
    if recorded && engine.journal.as_ref().is_some_and(|journal| journal.is_the_store()) {
        return Ok(CompleteOutcome::AlreadyStored);
    }
    let (timeout, fence) = (engine.settings.store_timeout, active.fence());
    let call = || engine.store.complete(claim, fence, record.clone());
    deadline::repeated(timeout, timeout, RetryUntil::ClientGivesUp, call).await
}

/// Frees the key, or ends the lease.
async fn end(active: &Arc<ActiveAttempt>, end: End, reserved: Reserved) {
    let Reserved { heartbeat, admission } = reserved;
    if let Some(heartbeat) = heartbeat {
        heartbeat.stop().await;
    }
    let timeout = active.engine.settings.store_timeout;
    let end = if active.steps.any() { End::Abandon } else { end };
    // The next attempt needs the steps, so the claim does not end before the store has them.
    let saved = if active.steps.has_unsaved() { Box::pin(active.save_steps()).await } else { Ok(()) };
    let ended = match saved {
        Err(NotSaved::Later(error)) => Err(error),
        Ok(()) | Err(NotSaved::Lost | NotSaved::Ended) => {
            let call = || end.call(&active.engine, &active.claim);
            deadline::repeated(timeout, timeout, RetryUntil::ClientGivesUp, call).await
        }
    };
    match ended {
        Ok(_) => active.report_ended(end),
        Err(error) => {
            limited!(ENDED_LATER; active.about(), error = %chain(&error));
            end_in_background(active, end, admission);
        }
    }
}

impl ActiveAttempt {
    /// Whether this attempt wrote the row. If another attempt wrote it, the row's response is a replay.
    pub(crate) fn owns(&self, row: &Row) -> bool {
        row.token == self.claim.token
    }

    /// Decides what is stored and sent after the handler has ended. A committed row in the journal is always the
    /// answer, and not what the handler returned. If the journal gives no answer, the client gets an error, unless the
    /// attempt did not use the journal.
    async fn decide_with_journal<T: Recordable>(
        &self,
        journal: &dyn Journal,
        outcome: Outcome<T>,
    ) -> (Outcome<Reply<T>>, Option<Box<ClaimRequest>>) {
        let record = match &outcome {
            Outcome::Stored(stored) if !stored.recorded => Some(stored.record.clone()),
            _ => None,
        };
        match self.look(journal, record).await {
            Ok(Some(row)) => (self.answer(&row, outcome), Some(Box::new(row.terms(&self.claim)))),
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
        let untouched = matches!(self.journal_write(), JournalWrite::None);
        stored.value.is_success() && !stored.recorded && !self.may_have_rival() && untouched
    }

    async fn look(&self, journal: &dyn Journal, record: Option<Bytes>) -> Result<Option<Row>, Unanswered> {
        match (self.journal_write(), record) {
            (JournalWrite::Committed(row), _) => Ok(Some(row)),
            // A transaction that was rolled back protects no more than one that was never begun.
            (JournalWrite::Unknown, record) => match (journal.settle(&self.claim).await?, record) {
                (None, Some(record)) if self.may_have_rival() => {
                    journal.write_row(&self.claim, self.fence(), &record).await
                }
                (found, _) => Ok(found),
            },
            // An earlier attempt that counts as dead may wake up and commit after this response was sent. So this
            // attempt writes a row too, and the table's unique key lets only one of the two commit.
            (JournalWrite::None, Some(record)) if self.may_have_rival() => {
                journal.write_row(&self.claim, self.fence(), &record).await
            }
            (JournalWrite::None, _) => journal.find(&self.claim.key).await,
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
            _ if row.fingerprint != self.claim.fingerprint => Reply::Refused(Refused::OtherRequest),
            _ if self.owns(row) => Reply::Committed(row.record.clone()),
            _ => Reply::Replayed(row.record.clone()),
        };
        Outcome::Stored(Stored { record: row.record.clone(), recorded: true, unfinished: false, value })
    }
}
