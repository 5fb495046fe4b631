//! [`ActiveAttempt`]: an attempt whose handler may run. It is the only state that the tasks of an attempt share.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::{
    Engine, Request,
    steps::{NotSaved, Steps},
};
use crate::{
    journal::JournalWrite,
    store::{
        Acquired, ClaimRequest, Claims as _, SaveOutcome,
        deadline::{self, RetryUntil},
    },
    telemetry::{self, About, RequestTelemetry},
};
#[cfg(feature = "_sql")]
use crate::{journal::Unanswered, store::StoreError};

/// An attempt whose handler may run. The engine, the heartbeats and the handler's `Claim` share it.
pub(crate) struct ActiveAttempt {
    pub(crate) engine: Arc<Engine>,
    /// The name of the handler.
    pub(crate) handler: &'static str,
    /// The client's key.
    pub(crate) key: Box<str>,
    /// The claim as it was sent to the store.
    pub(crate) claim: ClaimRequest,
    /// What the store returned with the claim. `None` when the handler runs without a claim, during an outage.
    pub(crate) acquired: Option<Acquired>,
    /// The moment before the claim was sent to the store. The lease may have begun at that moment.
    pub(crate) claimed: Instant,
    pub(crate) telemetry: RequestTelemetry,
    /// The steps that this attempt and earlier ones have saved.
    pub(crate) steps: Steps,
    /// What the attempt has written to the journal so far.
    journal_write: Mutex<JournalWrite>,
    /// The handler has ended, so nothing may be committed for the attempt any more.
    ended: AtomicBool,
    lost: Signal,
    /// Notified when a renewal that was under way has ended.
    pub(super) renewal_ended: Notify,
    /// A renewal got no answer, so it may still take effect in the store.
    pub(super) renewal_unanswered: AtomicBool,
}

/// A signal that fires once and then stays fired.
#[derive(Default)]
struct Signal {
    fired: AtomicBool,
    waiters: Notify,
}

impl ActiveAttempt {
    pub(super) fn start(
        engine: Arc<Engine>,
        request: Request,
        acquired: Option<Acquired>,
        claimed: Instant,
        telemetry: RequestTelemetry,
        steps: Steps,
    ) -> Arc<Self> {
        let Request { handler, key, claim, .. } = request;
        Arc::new(Self {
            engine,
            handler,
            key,
            claim,
            acquired,
            claimed,
            telemetry,
            steps,
            journal_write: Mutex::default(),
            ended: AtomicBool::new(false),
            lost: Signal::default(),
            renewal_ended: Notify::new(),
            renewal_unanswered: AtomicBool::new(false),
        })
    }

    /// The fencing token of the claim; 0 without a claim.
    pub(crate) fn fence(&self) -> u64 {
        self.acquired.as_ref().map_or(0, |claim| claim.fence)
    }

    /// What an event says of this attempt.
    pub(crate) fn about(&self) -> About<'_> {
        self.telemetry.about(self.claim.key.as_str(), self.acquired.as_ref().map(|claim| claim.fence))
    }

    /// Its response is larger than `max_response`.
    pub(crate) fn too_large(&self) {
        let metrics = self.engine.metrics.handler(self.handler);
        telemetry::too_large(&metrics, Some(self.about().digest()), self.engine.settings.max_response);
    }

    /// Whether another attempt may still be running: an earlier attempt stopped without reporting a result, or there is
    /// no claim.
    pub(crate) fn may_have_rival(&self) -> bool {
        self.acquired.as_ref().is_none_or(|claim| claim.recovering)
    }

    pub(crate) fn journal_write(&self) -> JournalWrite {
        self.journal_write.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(feature = "_sql")]
    pub(crate) fn set_journal_write(&self, write: JournalWrite) {
        *self.journal_write.lock().unwrap_or_else(PoisonError::into_inner) = write;
    }

    /// Called when the handler has ended. Its response is then stored, or the key is freed.
    pub(crate) fn end(&self) {
        self.ended.store(true, SeqCst);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// Marks the claim as lost: from now on another attempt may have the key.
    pub(crate) fn lose(&self, reason: &'static str) {
        if !self.lost.fired.swap(true, SeqCst) {
            telemetry::lost(self.about(), reason);
            self.lost.waiters.notify_waiters();
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.fired.load(SeqCst)
    }

    /// Resolves when the claim may have been lost.
    pub(crate) async fn lost(&self) {
        loop {
            // Created before the check, so that a loss between the check and the `await` still wakes this task.
            let fired = self.lost.waiters.notified();
            if self.is_lost() {
                return;
            }
            fired.await;
        }
    }

    /// The claim as the store returned it, with the steps saved since. A store that has lost the claim is given it
    /// again.
    pub(super) fn current(&self) -> Option<Acquired> {
        let Acquired { fence, recovering, .. } = *self.acquired.as_ref()?;
        let steps = self.steps.saved();
        Some(Acquired { fence, recovering: recovering || !steps.is_empty(), steps })
    }

    /// The caller holds the lock for saving.
    #[cfg(feature = "_sql")]
    pub(crate) async fn settle_in_turn(&self) -> Result<(), NotSaved> {
        let Some(journal) = self.engine.journal.as_deref().filter(|_| self.steps.in_doubt()) else { return Ok(()) };
        match journal.settle_steps(&self.claim).await {
            Ok(Some(found)) => {
                self.steps.settled(&found);
                Ok(())
            }
            Ok(None) => {
                self.lose("the row of the claim is no longer this attempt's");
                Err(NotSaved::Lost)
            }
            Err(Unanswered::Timeout) => Err(NotSaved::Later(StoreError::Timeout)),
            Err(error) => Err(NotSaved::Later(StoreError::Refused(error.into()))),
        }
    }

    /// Saves all steps, if the store does not have them yet.
    pub(crate) async fn save_steps(&self) -> Result<(), NotSaved> {
        let _saving = self.steps.saving.lock().await;
        #[cfg(feature = "_sql")]
        self.settle_in_turn().await?;
        let Some(steps) = self.steps.to_save() else { return Ok(()) };
        let timeout = self.engine.settings.store_timeout;
        let call = || self.engine.store.save_steps(&self.claim, self.fence(), steps.clone());
        match deadline::repeated(timeout, timeout, RetryUntil::ClientGivesUp, call).await {
            Ok(SaveOutcome::Saved) => {
                self.steps.saved_as(steps);
                Ok(())
            }
            Ok(SaveOutcome::Lost) => Err(NotSaved::Lost),
            Err(error) => Err(NotSaved::Later(error)),
        }
    }

    /// Whether a renewal may still take effect in the store.
    pub(super) fn has_unanswered_renewal(&self) -> bool {
        self.renewal_unanswered.load(SeqCst)
    }

    /// The time limit of one renewal: the store's time limit, and at most a third of the lease.
    pub(super) fn renewal_limit(&self) -> Duration {
        self.engine.settings.store_timeout.min(self.claim.lease / 3)
    }
}

/// Hands the attempt from the engine to the running code's `Claim`.
#[derive(Default)]
pub(crate) struct ClaimCell {
    attempt: OnceLock<Arc<ActiveAttempt>>,
    /// A random value. Keys are derived from it when the request has no key.
    nonce: OnceLock<Uuid>,
}

impl ClaimCell {
    /// Whether an attempt has filled it.
    pub(crate) fn is_filled(&self) -> bool {
        self.attempt.get().is_some()
    }

    pub(super) fn fill(&self, attempt: &Arc<ActiveAttempt>) {
        // The cell was empty and belongs to this request alone, so `set` cannot fail.
        let _ = self.attempt.set(Arc::clone(attempt));
    }

    pub(crate) fn attempt(&self) -> Option<&Arc<ActiveAttempt>> {
        self.attempt.get()
    }

    pub(crate) fn nonce(&self) -> &Uuid {
        self.nonce.get_or_init(Uuid::new_v4)
    }
}
