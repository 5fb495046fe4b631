//! Ends an attempt: stores its record, or ends its claim without one. If the store does not take that in time, the
//! caller gets its reply first, and the store is asked again in the background.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::SemaphorePermit};
use tracing::Instrument as _;

use super::{
    Admission,
    attempt::ActiveAttempt,
    deadline::{self, RetryUntil},
    heartbeat::Heartbeat,
    outcome::{Outcome, Panic, Recordable, Reply, Stored},
    release::{End, end_in_background},
};
use crate::{
    error_chain::chain,
    store::{ClaimRequest, CompleteOutcome, ReleaseOutcome, StoreError},
    telemetry::{AttemptEnd, limited},
};

/// How long the store is asked to take the end of an attempt. It is also asked for as long as the claim's lease.
const PERSIST_FOR: Duration = Duration::from_secs(10 * 60);

/// What an attempt holds until the store has taken its end.
pub(super) struct Held {
    /// Renews the lease meanwhile.
    pub(super) heartbeat: Option<Heartbeat>,
    pub(super) admission: Admission,
}

/// Ends an attempt by its outcome. `row`: the claim to store the record under, if that is not the attempt's own.
///
/// This and [`store`] are plain functions, since an `async fn` would keep a second copy of each argument that it moves.
#[expect(clippy::manual_async_fn, reason = "see above")]
pub(super) fn finish<T: Recordable>(
    active: &Arc<ActiveAttempt>,
    outcome: Outcome<Reply<T>>,
    row: Option<Box<ClaimRequest>>,
    held: Held,
) -> impl Future<Output = Result<Reply<T>, Panic>> + Send {
    async move {
        let (how, replied) = match outcome {
            Outcome::Stored(stored) => return Ok(store(active, stored, row, held).await),
            Outcome::Freed(reply) => (End::Release, Ok(reply)),
            Outcome::Broken(reply) => (End::Abandon, Ok(reply)),
            Outcome::Panicked(panic) => (End::Abandon, Err(panic)),
        };
        // Failures are rarer than responses, so their future has a box of its own.
        Box::pin(end(active, how, held)).await;
        replied
    }
}

/// Stores a record.
#[expect(clippy::manual_async_fn, reason = "see above")]
fn store<T: Recordable>(
    active: &Arc<ActiveAttempt>,
    stored: Stored<Reply<T>>,
    row: Option<Box<ClaimRequest>>,
    held: Held,
) -> impl Future<Output = Reply<T>> + Send {
    async move {
        let claim = row.as_deref().unwrap_or(&active.attempt);
        let completed = complete(active, claim, &stored.record, stored.recorded).await;
        let Stored { record, recorded, unfinished, value } = stored;
        let later = |stored| Later { active: Arc::clone(active), claim: claim.clone(), stored };
        let later = match completed {
            Ok(completed) => {
                report_completed(active, completed);
                drop(held);
                (unfinished && completed != CompleteOutcome::Lost).then(|| later(true))
            }
            Err(error) => {
                limited!(STORED_LATER; active.about(), error = %chain(&error));
                // If the journal has the record, it cannot be lost, and no shorter one is needed.
                let shorter = match &value {
                    Reply::Value(value) if !recorded => value.without_content(),
                    _ => None,
                };
                let unsaved = Unsaved { claim: claim.clone(), record, shorter };
                in_background(active, async move |active| unsaved.store(&active, held).await);
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

/// A record that is stored after the caller got its reply.
struct Unsaved {
    claim: ClaimRequest,
    record: Bytes,
    shorter: Option<Bytes>,
}

impl Unsaved {
    /// Stores the whole record if there is memory for it. Otherwise stores only that the attempt ran, and holds the
    /// request's place among those in flight meanwhile. So what waits is bounded, and no attempt is forgotten.
    async fn store(self, active: &ActiveAttempt, held: Held) {
        let Self { claim, mut record, shorter } = self;
        let Held { heartbeat, admission } = held;
        let room = room(active, record.len());
        let place = room.is_none().then_some(admission);
        if let Some(shorter) = shorter.filter(|_| place.is_some()) {
            record = shorter;
        }
        let call = || active.engine.store.complete(&claim, active.fence(), record.clone());
        match persisted(active, call).await {
            Ok(completed) => report_completed(active, completed),
            Err(error) => active.telemetry.unsaved(active.about(), &chain(&error)),
        }
        drop((heartbeat, room, place));
    }
}

/// Frees the key, or ends the lease.
async fn end(active: &Arc<ActiveAttempt>, end: End, held: Held) {
    let Held { heartbeat, admission } = held;
    if let Some(heartbeat) = heartbeat {
        heartbeat.stop().await;
    }
    let timeout = active.engine.settings.store_timeout;
    let end = if active.steps.any() { End::Abandon } else { end };
    if active.steps.has_unsaved() {
        // The next attempt needs the steps. An error is ignored: if the store takes no steps now, ending the claim
        // fails too and is repeated in the background.
        let _ = Box::pin(active.save_steps()).await;
    }
    let call = || end.call(&active.engine, &active.attempt);
    match deadline::repeated(timeout, timeout, RetryUntil::ClientGivesUp, call).await {
        Ok(_) => report_ended(active, end),
        Err(error) => {
            limited!(ENDED_LATER; active.about(), error = %chain(&error));
            in_background(active, async move |active| end_later(&active, end, admission).await);
        }
    }
}

async fn end_later(active: &Arc<ActiveAttempt>, end: End, admission: Admission) {
    let room = room(active, 0);
    let place = room.is_none().then_some(admission);
    let call = || end.call(&active.engine, &active.attempt);
    let ended = persisted(active, call).await;
    // Saving the steps creates the claim again if it has expired meanwhile. So the claim is ended once more.
    if ended.is_ok() && active.steps.has_unsaved() && active.save_steps().await.is_ok() {
        let _: Result<ReleaseOutcome, _> = deadline::once(active.engine.settings.store_timeout, call()).await;
    }
    match ended {
        Ok(_) => report_ended(active, end),
        Err(error) => active.telemetry.unsaved(active.about(), &chain(&error)),
    }
    drop((room, place));
}

/// Memory for a record that waits to be stored. `None` if too much waits already.
fn room(active: &ActiveAttempt, bytes: usize) -> Option<SemaphorePermit<'_>> {
    let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
    active.engine.unsaved.try_acquire_many(kib).ok()
}

/// Repeats a call in the background.
async fn persisted<'a, T>(
    active: &ActiveAttempt,
    call: impl FnMut() -> crate::store::StoreCall<'a, T>,
) -> Result<T, StoreError> {
    let limit = PERSIST_FOR.max(active.attempt.lease);
    deadline::repeated(limit, active.engine.settings.store_timeout, RetryUntil::TimeIsOver, call).await
}

/// Runs the end of an attempt in a task of its own. A shutdown waits for it, by `drain`.
fn in_background<F>(active: &Arc<ActiveAttempt>, work: impl FnOnce(Arc<ActiveAttempt>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    // While the tokio runtime shuts down, nothing can be stored any more.
    let Ok(runtime) = Handle::try_current() else { return };
    let (work, background) = (work(Arc::clone(active)), active.engine.load.background());
    let counted = async move {
        work.await;
        drop(background);
    };
    runtime.spawn(counted.instrument(active.telemetry.span().clone()));
}

/// The store took the record, or answered that another attempt has the key.
fn report_completed(active: &ActiveAttempt, completed: CompleteOutcome) {
    active.engine.waiters.completed(&active.attempt.key);
    let end = match completed {
        CompleteOutcome::Stored | CompleteOutcome::AlreadyStored => AttemptEnd::Stored,
        CompleteOutcome::Lost => AttemptEnd::Fenced,
    };
    active.telemetry.ended(active.about(), end);
}

/// The claim has ended without a record.
fn report_ended(active: &ActiveAttempt, end: End) {
    active.engine.waiters.released(&active.attempt.key);
    let reported = match end {
        End::Release => AttemptEnd::Freed,
        End::Abandon => AttemptEnd::Abandoned,
    };
    active.telemetry.ended(active.about(), reported);
    // A renewal that got no answer may still arrive and create the claim again. So the claim is ended once more.
    if active.has_unanswered_renewal() {
        end_in_background(&active.engine, &active.attempt, end);
    }
}

/// Stores the record of a value whose content has ended after the caller got it. It replaces the record without content.
pub(crate) struct Later {
    pub(crate) active: Arc<ActiveAttempt>,
    claim: ClaimRequest,
    /// Whether the record without content is stored. Otherwise it is being stored.
    stored: bool,
}

impl Later {
    /// Does work in the background, which a shutdown waits for.
    pub(crate) fn spawn<F>(self, work: impl FnOnce(Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let active = Arc::clone(&self.active);
        in_background(&active, |_| work(self));
    }

    pub(crate) async fn store(&self, record: &Bytes) {
        match self.persist(record).await {
            Ok(CompleteOutcome::Lost) => {
                tracing::debug!("a response is stored without its body: another attempt has the key");
            }
            Ok(_) => tracing::debug!("a response is stored with its body"),
            Err(error) => limited!(WITHOUT_BODY; self.active.about(), error = %chain(&error)),
        }
    }

    async fn persist(&self, record: &Bytes) -> Result<CompleteOutcome, StoreError> {
        let (store, fence) = (&self.active.engine.store, self.active.fence());
        if !self.stored {
            let complete = || store.complete(&self.claim, fence, record.clone());
            let completed = persisted(&self.active, complete).await?;
            if completed != CompleteOutcome::AlreadyStored {
                return Ok(completed);
            }
        }
        persisted(&self.active, || store.replace(&self.claim, fence, record.clone())).await
    }
}
