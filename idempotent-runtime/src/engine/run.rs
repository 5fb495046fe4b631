//! Runs a request: claims its key, runs the attempt, stores its record, and returns the answer.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{runtime::Handle, time::Instant};
use tracing::{Instrument, Span};

use super::{
    Admission, Engine, Request,
    attempt::{ActiveAttempt, ClaimCell, Started},
    claim::{AcquireOutcome, claim},
    finish::{Held, finish},
    outcome::{Answer, Outcome, Panic, Recordable, Refused, Reply},
    release::{End, end_in_background},
    steps::Steps,
};
use crate::{
    config::Outage,
    journal::Journal,
    store::{Acquired, ClaimOutcome, ClaimRequest, StoreError},
    telemetry::{RequestTelemetry, limited},
};

/// A request with all that is needed to run it once.
pub(crate) struct Execution<W> {
    pub(crate) engine: Arc<Engine>,
    pub(crate) request: Request,
    /// Where the running attempt finds its claim.
    pub(crate) cell: Arc<ClaimCell>,
    pub(crate) admission: Admission,
    pub(crate) telemetry: RequestTelemetry,
    /// Makes the attempt's future, which is polled only under the claim. It is small, and the future may be large.
    pub(crate) work: W,
}

/// Whether the attempt runs.
enum Decision<T: 'static> {
    Run(InPlace<T>),
    Answer(Answer<T>),
}

impl<W, F, T> Execution<W>
where
    W: FnOnce() -> F + Send + 'static,
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
        let outcome = claim(engine, request).await;
        match (*self).decide(outcome) {
            Decision::Answer(answer) => answer,
            Decision::Run(attempt) => Answer::Ran(attempt.await.unwrap_or_else(|panic| resume_unwind(panic))),
        }
    }

    /// Decides what to do, by the store's answer.
    fn decide(self, outcome: AcquireOutcome) -> Decision<T> {
        let name = self.request.claim.key.as_str();
        let refused = match outcome {
            AcquireOutcome::Answered(ClaimOutcome::Acquired(held), claimed) => {
                self.telemetry.runs(name, held.fence, held.recovering);
                return self.run(Some(held), claimed);
            }
            AcquireOutcome::Unknown if self.engine.settings.outage == Outage::RunUnprotected => {
                self.telemetry.runs_unprotected(name);
                return self.run(None, Instant::now());
            }
            AcquireOutcome::Answered(ClaimOutcome::Done(record), _) => {
                return Decision::Answer(Answer::Replayed(record));
            }
            AcquireOutcome::Answered(ClaimOutcome::Running { left }, _) => {
                self.telemetry.meets_running(left);
                Refused::Running { left }
            }
            AcquireOutcome::Answered(ClaimOutcome::Died, _) => Refused::Died,
            AcquireOutcome::Answered(ClaimOutcome::OtherRequest, _) => Refused::OtherRequest,
            AcquireOutcome::Answered(ClaimOutcome::Unreadable, _) => {
                limited!(RECORD_FOR_EVER; self.request.about());
                Refused::Unreadable
            }
            AcquireOutcome::Expired => Refused::Expired,
            AcquireOutcome::FromTheFuture => Refused::FromTheFuture,
            AcquireOutcome::Failed(StoreError::Full(_)) => Refused::StoreFull,
            AcquireOutcome::Unknown | AcquireOutcome::Failed(_) => Refused::StoreUnavailable,
            AcquireOutcome::JournalFailed => Refused::JournalUnavailable,
        };
        Decision::Answer(Answer::Refused(refused))
    }

    /// Starts the attempt.
    fn run(self, held: Option<Acquired>, claimed: Instant) -> Decision<T> {
        let Self { engine, mut request, cell, admission, telemetry, work } = self;
        request.claim.fence = held.as_ref().map_or(0, |held| held.fence);
        let Some(steps) = Steps::of(held.as_ref()) else {
            limited!(STEPS_UNREADABLE; request.about());
            // Running without the steps would repeat their effects, so the attempt does not run.
            end_in_background(&engine, &request.claim, End::Abandon);
            return Decision::Answer(Answer::Refused(Refused::Unreadable));
        };
        let span = telemetry.span().clone();
        let active = ActiveAttempt::start(Started { engine, request, held, claimed, telemetry, steps });
        cell.fill(&active);
        Decision::Run(InPlace { attempt: Some(attempting(active, work, admission)), span })
    }
}

/// A whole attempt: running it, storing its record.
type Attempting<T> = Pin<Box<dyn Future<Output = Result<Reply<T>, Panic>> + Send>>;

/// The whole attempt as one future. This is a plain function, because an `async fn` would keep a second copy of the
/// values that it moves into the box.
fn attempting<W, F, T>(active: Arc<ActiveAttempt>, work: W, admission: Admission) -> Attempting<T>
where
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
    T: Recordable,
{
    Box::pin(async move {
        let heartbeat = active.held.is_some().then(|| active.engine.heartbeats.keep(&active));
        let outcome = {
            let mut work = pin!(work());
            // A panic in it, or in a body that it returned, ends only this attempt.
            poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
                Ok(polled) => polled,
                Err(panic) => Poll::Ready(Outcome::Panicked(panic)),
            })
            .await
        };
        active.end();
        let (outcome, row) = match &active.engine.journal {
            None => (outcome.replied(), None),
            Some(journal) => Box::pin(decide_by_journal(&active, &**journal, outcome)).await,
        };
        finish(&active, outcome, row, Held { heartbeat, admission }).await
    })
}

/// Also returns the claim to store the record under, if that differs from the attempt's own: the journal may have the
/// row of an earlier attempt.
async fn decide_by_journal<T: Recordable>(
    active: &ActiveAttempt,
    journal: &dyn Journal,
    outcome: Outcome<T>,
) -> (Outcome<Reply<T>>, Option<Box<ClaimRequest>>) {
    let (outcome, row) = active.decide_with_journal(journal, outcome).await;
    (outcome, row.map(|row| Box::new(row.terms(&active.attempt))))
}

/// An attempt that its request polls. If the request is dropped, because the client hung up or an outer layer timed
/// out, the rest of the attempt runs in a task.
struct InPlace<T: 'static> {
    /// `None` after the attempt has ended.
    attempt: Option<Attempting<T>>,
    span: Span,
}

// The attempt is in a box.
impl<T: 'static> Unpin for InPlace<T> {}

impl<T: 'static> Future for InPlace<T> {
    type Output = Result<Reply<T>, Panic>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(attempt) = &mut self.attempt else { return Poll::Pending };
        let polled = attempt.as_mut().poll(context);
        if polled.is_ready() {
            self.attempt = None;
        }
        polled
    }
}

impl<T: 'static> Drop for InPlace<T> {
    fn drop(&mut self) {
        let Some(rest) = self.attempt.take() else { return };
        // While the tokio runtime shuts down, no task can be started. The attempt then stops as if its process had been
        // killed.
        if let Ok(runtime) = Handle::try_current() {
            // Nobody waits for the answer any more. A retry gets the stored record.
            runtime.spawn(abandoned(rest).instrument(self.span.clone()));
        }
    }
}

async fn abandoned<T>(rest: Attempting<T>) {
    drop(rest.await);
}
