//! What goes on after a request was answered: the store is asked until it has taken the record of an attempt, or the end of
//! a claim. All of it is bounded, and a shutdown waits for it.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::SemaphorePermit, time::Instant};
use tracing::Instrument as _;

use super::{Admission, Engine, attempt::ActiveAttempt, heartbeat::Heartbeat, steps::NotSaved};
use crate::{
    backoff::Backoff,
    error_chain::chain,
    store::{
        ClaimRequest, Claims as _, CompleteOutcome, ReleaseOutcome, StoreCall, StoreError,
        deadline::{self, RetryUntil},
    },
    telemetry::{AttemptEnd, limited},
};

/// How long the store is asked to take the end of an attempt. It is also asked for as long as the claim's lease.
const PERSIST_FOR: Duration = Duration::from_secs(10 * 60);

/// The pause after the first try to release a claim that may exist. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// How a claim ends without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The key is freed. The next attempt is a first attempt.
    Release,
    /// Only the lease ends. The effects of this attempt are unknown, and the next attempt is `recovering`.
    Abandon,
}

impl End {
    pub(super) fn call<'a>(self, engine: &'a Engine, claim: &'a ClaimRequest) -> StoreCall<'a, ReleaseOutcome> {
        match self {
            Self::Release => engine.store.release(claim),
            Self::Abandon => engine.store.abandon(claim),
        }
    }
}

/// Releases the claim when it is dropped while armed.
///
/// For a claim whose answer was lost: it may exist, or appear later.
pub(super) struct ReleaseOnDrop<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) claim: &'a ClaimRequest,
    pub(super) armed: bool,
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            end_possible_claim(self.engine, self.claim, End::Release);
        }
    }
}

/// Ends a claim that may exist, or that a command which is still on its way may make. Tries until the store answers, or
/// the lease has ended. A store that has answered remembers it, so a claim that comes later does not take the key.
pub(super) fn end_possible_claim(engine: &Arc<Engine>, claim: &ClaimRequest, end: End) {
    // When more claims than this are to be released during an outage, the others end with their leases.
    let Ok(permit) = engine.releases.clone().try_acquire_owned() else { return };
    let Ok(runtime) = Handle::try_current() else { return };
    let (engine, claim, background) = (Arc::clone(engine), claim.clone(), engine.load.background());
    runtime.spawn(async move {
        let each = engine.settings.store_timeout;
        let mut backoff = Backoff::new(FIRST_PAUSE.min(claim.lease), claim.lease).until(Instant::now() + claim.lease);
        loop {
            match deadline::once(each, end.call(&engine, &claim)).await {
                Ok(ReleaseOutcome::Ended) => engine.waiters.released(&claim.key),
                Err(_) if backoff.pause().await => continue,
                Ok(ReleaseOutcome::NotOurs) | Err(_) => {}
            }
            break;
        }
        drop((permit, background));
    });
}

/// What an attempt keeps until the store has taken its end.
pub(super) struct Reserved {
    /// Renews the lease meanwhile.
    pub(super) heartbeat: Option<Heartbeat>,
    pub(super) admission: Admission,
}

/// A record that is stored after the caller got its reply.
pub(super) struct Unsaved {
    pub(super) claim: ClaimRequest,
    pub(super) record: Bytes,
    pub(super) shorter: Option<Bytes>,
}

impl Unsaved {
    /// Stores the whole record if there is memory for it. Otherwise stores only that the attempt ran, and holds the
    /// request's place among those in flight meanwhile. So what waits is bounded, and no attempt is forgotten.
    pub(super) fn store_in_background(self, active: &Arc<ActiveAttempt>, reserved: Reserved) {
        in_background(active, async move |active| {
            let Self { claim, mut record, shorter } = self;
            let Reserved { heartbeat, admission } = reserved;
            let room = room(&active, record.len());
            let place = room.is_none().then_some(admission);
            if let Some(shorter) = shorter.filter(|_| place.is_some()) {
                record = shorter;
            }
            let call = || active.engine.store.complete(&claim, active.fence(), record.clone());
            match persisted(&active, call).await {
                Ok(completed) => active.report_completed(completed),
                Err(error) => active.telemetry.unsaved(active.about(), &chain(&error)),
            }
            drop((heartbeat, room, place));
        });
    }
}

/// Saves the steps of an attempt and ends its claim, after the store has not answered in time.
pub(super) fn end_in_background(active: &Arc<ActiveAttempt>, end: End, admission: Admission) {
    in_background(active, async move |active| {
        let room = room(&active, 0);
        let place = room.is_none().then_some(admission);
        save_steps(&active).await;
        match persisted(&active, || end.call(&active.engine, &active.claim)).await {
            Ok(_) => active.report_ended(end),
            Err(error) => active.telemetry.unsaved(active.about(), &chain(&error)),
        }
        drop((room, place));
    });
}

/// Saves the steps, until the store has them or another attempt has the key, for as long as there is time.
async fn save_steps(active: &ActiveAttempt) {
    let mut backoff = deadline::pauses(Instant::now() + persist_for(active));
    while active.steps.has_unsaved()
        && let Err(NotSaved::Later(_)) = active.save_steps().await
        && backoff.pause().await
    {}
}

/// Stores the record of a value whose content has ended after the caller got it. It replaces the record without content.
pub(crate) struct Later {
    pub(crate) active: Arc<ActiveAttempt>,
    pub(super) claim: ClaimRequest,
    /// Whether the record without content is stored. Otherwise it is being stored.
    pub(super) stored: bool,
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

impl ActiveAttempt {
    /// The store took the record, or answered that another attempt has the key.
    pub(super) fn report_completed(&self, completed: CompleteOutcome) {
        self.engine.waiters.completed(&self.claim.key);
        let end = match completed {
            CompleteOutcome::Stored | CompleteOutcome::AlreadyStored => AttemptEnd::Stored,
            CompleteOutcome::Lost => AttemptEnd::Fenced,
        };
        self.telemetry.ended(self.about(), end);
    }

    /// The claim has ended without a record.
    pub(super) fn report_ended(&self, end: End) {
        self.engine.waiters.released(&self.claim.key);
        let reported = match end {
            End::Release => AttemptEnd::Freed,
            End::Abandon => AttemptEnd::Abandoned,
        };
        self.telemetry.ended(self.about(), reported);
        // A renewal that got no answer may still arrive and create the claim again. So the claim is ended once more.
        if self.has_unanswered_renewal() {
            end_possible_claim(&self.engine, &self.claim, end);
        }
    }
}

/// Memory for a record that waits to be stored. `None` if too much waits already.
fn room(active: &ActiveAttempt, bytes: usize) -> Option<SemaphorePermit<'_>> {
    let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
    active.engine.unsaved.try_acquire_many(kib).ok()
}

/// Repeats a call for as long as there is time.
async fn persisted<'a, T>(active: &ActiveAttempt, call: impl FnMut() -> StoreCall<'a, T>) -> Result<T, StoreError> {
    deadline::repeated(persist_for(active), active.engine.settings.store_timeout, RetryUntil::TimeIsOver, call).await
}

fn persist_for(active: &ActiveAttempt) -> Duration {
    PERSIST_FOR.max(active.claim.lease)
}

/// Runs work in its own task. A shutdown waits for it, by `drain`.
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
