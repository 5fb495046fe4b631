//! Runs an attempt inside its request, or in a task if the request is dropped.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{runtime::Handle, time::Instant};
use tracing::{Instrument, Span};

use super::{
    Admission, Execution,
    attempt::ActiveAttempt,
    background::{End, Reserved, end_possible_claim},
    finish::{decide, finish},
    outcome::{Outcome, Panic, Recordable, Refused, Reply},
    steps::Steps,
};
use crate::{store::Acquired, telemetry::limited};

impl<W, F, T> Execution<W>
where
    W: FnOnce(Arc<ActiveAttempt>) -> F + Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
    T: Recordable,
{
    /// Starts the attempt, unless the steps of an earlier one cannot be read.
    pub(super) fn run(self, acquired: Option<Acquired>, claimed: Instant) -> Result<InPlace<T>, Refused> {
        let Self { engine, mut request, cell, admission, telemetry, work } = self;
        request.claim.fence = acquired.as_ref().map_or(0, |claim| claim.fence);
        let Some(steps) = Steps::inherited(acquired.as_ref()) else {
            limited!(STEPS_UNREADABLE; request.about());
            // Running without the steps would repeat their effects, so the attempt does not run.
            end_possible_claim(&engine, &request.claim, End::Abandon);
            return Err(Refused::Unreadable);
        };
        let span = telemetry.span().clone();
        let active = ActiveAttempt::start(engine, request, acquired, claimed, telemetry, steps);
        cell.fill(&active);
        Ok(InPlace { attempt: Some(attempting(active, work, admission)), span })
    }
}

/// A whole attempt: running it, storing its record.
type Attempting<T> = Pin<Box<dyn Future<Output = Result<Reply<T>, Panic>> + Send>>;

/// The whole attempt as one future. This is a plain function, because an `async fn` would keep a second copy of the
/// values that it moves into the box.
fn attempting<W, F, T>(active: Arc<ActiveAttempt>, work: W, admission: Admission) -> Attempting<T>
where
    W: FnOnce(Arc<ActiveAttempt>) -> F + Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
    T: Recordable,
{
    Box::pin(async move {
        let heartbeat = active.acquired.is_some().then(|| active.engine.heartbeats.keep(&active));
        let outcome = {
            let _timer = active.telemetry.timer();
            let mut work = pin!(work(Arc::clone(&active)));
            // A panic in it, or in a body that it returned, ends only this attempt.
            poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
                Ok(polled) => polled,
                Err(panic) => Poll::Ready(Outcome::Panicked(panic)),
            })
            .await
        };
        active.end();
        let (outcome, row) = decide(&active, outcome).await;
        finish(&active, outcome, row, Reserved { heartbeat, admission }).await
    })
}

/// An attempt that its request polls. If the request is dropped, because the client hung up or an outer layer timed
/// out, the rest of the attempt runs in a task.
pub(super) struct InPlace<T: 'static> {
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
