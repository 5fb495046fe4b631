//! Claims the key of a request, and decides by the answer whether its work runs. Every call has a deadline, a duplicate
//! waits if its policy says so, and a claim that nobody uses is released.

use std::{future::Future, panic::resume_unwind, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    ActiveAttempt, Engine, Execution, Request,
    background::ReleaseOnDrop,
    dated,
    outcome::{Answer, Decision, Outcome, Recordable, Refused},
    recover,
    run::InPlace,
};
use crate::{
    config::Outage,
    error_chain::chain,
    store::{
        ClaimOutcome, ClaimRequest, Claims as _, StoreError,
        deadline::{self, RetryUntil},
    },
    telemetry::{limited, log},
};

impl<W, F, T> Execution<W>
where
    W: FnOnce(Arc<ActiveAttempt>) -> F + Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
    T: Recordable,
{
    /// If the caller drops this before the key is claimed, the request ends: nothing has happened. After the claim, the
    /// attempt goes on without the caller.
    ///
    /// In a box: each value that is kept over an `await` would make every future around this one larger.
    pub(crate) async fn execute(self: Box<Self>) -> Answer<T> {
        // Each field is borrowed by itself: the work is not `Sync`, so it must not be borrowed over an `await`.
        let Self { engine, request, telemetry, .. } = &*self;
        telemetry.named(request.claim.key.as_str());
        let decision = claim(engine, request).await;
        match (*self).begin(decision) {
            Begun::Answer(answer) => answer,
            Begun::Attempt(attempt) => Answer::Ran(attempt.await.unwrap_or_else(|panic| resume_unwind(panic))),
        }
    }
}

/// Asks the store for the key, and the journal if the store's answer is not enough. The work does not run in here.
///
/// The rare cases are boxed, so that the future of the usual case stays small.
async fn claim(engine: &Arc<Engine>, request: &Request) -> Decision {
    let Some(journal) = engine.journal.as_deref() else { return acquire(engine, request).await };
    // Without the journal the handler's effects could not be recorded, so nothing is claimed.
    if !journal.is_ready() && !journal.prepare().await {
        return Decision::Refuse(Refused::JournalUnavailable);
    }
    let decision = acquire(engine, request).await;
    if recover::is_due(engine, &decision) {
        return Box::pin(recover::recover(engine, journal, request, decision)).await;
    }
    decision
}

/// Claims the key, or finds out why that is not possible.
async fn acquire(engine: &Arc<Engine>, request: &Request) -> Decision {
    if let Some(made) = request.made {
        match Box::pin(dated::judge(engine, &request.claim, made)).await {
            Ok(None) => {}
            Ok(Some(decision)) => return decision,
            Err((error, known)) => return without_answer(engine, request, &error, known),
        }
    }
    let asked = Instant::now();
    match claim_once(engine, &request.claim, false).await {
        Ok(ClaimOutcome::Running { left }) if !request.wait.is_zero() => {
            Box::pin(wait(engine, request, asked, left)).await
        }
        Ok(answer) => by_answer(answer, asked),
        Err(error) => without_answer(engine, request, &error, false),
    }
}

/// Waits until the running attempt has ended, then claims again.
async fn wait(engine: &Arc<Engine>, request: &Request, asked: Instant, left: Duration) -> Decision {
    let (claim, end) = (&request.claim, asked + request.wait);
    let mut running = Decision::Refuse(Refused::Running { left });
    // If too many requests wait for this key, this one does not wait and is answered at once.
    let Some(waiter) = engine.waiters.enter(&claim.key) else { return running };
    while Instant::now() < end {
        let lookup = || deadline::once(engine.settings.store_timeout, engine.store.lookup(&claim.key));
        // A wait that ran out is no error: the claim below returns how much of the lease is left.
        let _ = timeout_at(end, waiter.changed(lookup)).await;
        let asked = Instant::now();
        running = match claim_once(engine, claim, true).await {
            Ok(ClaimOutcome::Running { left }) => Decision::Refuse(Refused::Running { left }),
            Ok(answer) => return by_answer(answer, asked),
            Err(error) => return without_answer(engine, request, &error, true),
        };
    }
    running
}

/// Claims once. A failed call is repeated with the same token, for as long as the store may take but not longer than
/// the lease. `known`: this request has seen a record.
async fn claim_once(engine: &Arc<Engine>, claim: &ClaimRequest, known: bool) -> Result<ClaimOutcome, StoreError> {
    let limit = engine.settings.store_timeout.min(claim.lease);
    let mut release = ReleaseOnDrop { engine, claim, armed: true };
    let answered = deadline::repeated(limit, limit, RetryUntil::ClientGivesUp, || engine.store.claim(claim)).await;
    release.armed = match &answered {
        // There is no claim that nobody uses.
        Ok(_) | Err(StoreError::Full(_) | StoreError::Down(_)) => false,
        // A try may have made the claim, also if the last error says otherwise. If the work runs without a claim, the
        // claim is kept and the attempt ends it itself.
        Err(error) => !runs_unprotected(engine, error, known),
    };
    answered
}

/// Whether the work runs although the store gave no answer. `known`: the request has seen a record of its key, or the key is
/// too old, so the work must not run, also with `Outage::RunUnprotected`.
fn runs_unprotected(engine: &Engine, error: &StoreError, known: bool) -> bool {
    let no_answer = matches!(
        error,
        StoreError::Timeout | StoreError::Unreachable(_) | StoreError::Down(_) | StoreError::Refused(_)
    );
    no_answer && !known && engine.settings.outage == Outage::RunUnprotected
}

/// The store gave no answer, or has no room.
fn without_answer(engine: &Engine, request: &Request, error: &StoreError, known: bool) -> Decision {
    if let Some(before) = engine.outages_logged.admit(error.label()) {
        log!(STORE_UNAVAILABLE, error = chain(error), idempotency.handler = request.handler, before);
    }
    match error {
        error if runs_unprotected(engine, error, known) => Decision::Run(None, Instant::now()),
        StoreError::Full(_) => Decision::Refuse(Refused::StoreFull),
        _ => Decision::Refuse(Refused::StoreUnavailable),
    }
}

/// What the store's answer to a claim means. `asked`: the moment before the claim was sent.
fn by_answer(answer: ClaimOutcome, asked: Instant) -> Decision {
    Decision::Refuse(match answer {
        ClaimOutcome::Acquired(acquired) => return Decision::Run(Some(acquired), asked),
        ClaimOutcome::Done(record) => return Decision::Replay(record),
        ClaimOutcome::Running { left } => Refused::Running { left },
        ClaimOutcome::Died => Refused::Died,
        ClaimOutcome::OtherRequest => Refused::OtherRequest,
        ClaimOutcome::Unreadable => Refused::Unreadable,
    })
}

enum Begun<T: 'static> {
    Attempt(InPlace<T>),
    Answer(Answer<T>),
}

impl<W, F, T> Execution<W>
where
    W: FnOnce(Arc<ActiveAttempt>) -> F + Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
    T: Recordable,
{
    /// Starts the attempt, unless the request has its answer.
    fn begin(self, decision: Decision) -> Begun<T> {
        let (name, telemetry) = (self.request.claim.key.as_str(), &self.telemetry);
        let refused = match decision {
            Decision::Run(acquired, claimed) => {
                match &acquired {
                    Some(claim) => telemetry.runs(name, claim.fence, claim.recovering),
                    None => telemetry.runs_unprotected(name),
                }
                return match self.run(acquired, claimed) {
                    Ok(attempt) => Begun::Attempt(attempt),
                    Err(refused) => Begun::Answer(Answer::Refused(refused)),
                };
            }
            Decision::Replay(record) => return Begun::Answer(Answer::Replayed(record)),
            Decision::Refuse(refused) => refused,
        };
        match refused {
            Refused::Running { left } => telemetry.meets_running(left),
            Refused::Unreadable => limited!(RECORD_FOR_EVER; self.request.about()),
            _ => {}
        }
        Begun::Answer(Answer::Refused(refused))
    }
}
