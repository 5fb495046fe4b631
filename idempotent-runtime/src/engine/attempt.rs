//! [`ActiveAttempt`]: an attempt that has its key. The only state that its tasks share.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::http::Extensions;
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::{Engine, steps::Steps};
use crate::{
    config::policy::Policy,
    journal::Progress,
    request::key::Key,
    store::{Acquired, Attempt},
    telemetry::{self, RequestTelemetry},
};

/// An attempt whose handler may run. Shared by the engine, the heartbeat and the handler's `Claim`.
pub(crate) struct ActiveAttempt {
    pub(crate) engine: Arc<Engine>,
    pub(crate) policy: &'static Policy,
    /// The client's key.
    pub(crate) key: Key,
    /// What the store was asked for.
    pub(crate) attempt: Attempt,
    /// Whether a scope says whose key it is.
    pub(crate) scoped: bool,
    /// What came with the claim; `None` when the handler runs without one, in an outage.
    pub(crate) held: Option<Acquired>,
    /// The moment before the claim was asked for: the lease may have begun then.
    pub(crate) claimed: Instant,
    pub(crate) telemetry: RequestTelemetry,
    /// What its handler has saved, and the handlers before it.
    pub(crate) steps: Steps,
    /// How far the attempt has come with the journal.
    progress: Mutex<Progress>,
    /// The handler has ended, so that nothing may be committed for it any more.
    ended: AtomicBool,
    lost: Signal,
    /// Sent to when a renewal that was under way has ended.
    pub(super) renewal_ended: Notify,
    /// A renewal got no answer, so that it may still take effect.
    pub(super) renewal_unanswered: AtomicBool,
}

/// Fires once, and stays fired.
#[derive(Default)]
struct Signal {
    fired: AtomicBool,
    waiters: Notify,
}

/// What makes an [`ActiveAttempt`].
pub(crate) struct Started {
    pub(crate) engine: Arc<Engine>,
    pub(crate) policy: &'static Policy,
    pub(crate) key: Key,
    pub(crate) attempt: Attempt,
    pub(crate) scoped: bool,
    pub(crate) held: Option<Acquired>,
    pub(crate) claimed: Instant,
    pub(crate) telemetry: RequestTelemetry,
    pub(crate) steps: Steps,
}

impl ActiveAttempt {
    pub(crate) fn start(started: Started) -> Arc<Self> {
        let Started { engine, policy, key, attempt, scoped, held, claimed, telemetry, steps } = started;
        Arc::new(Self {
            engine,
            policy,
            key,
            attempt,
            scoped,
            held,
            claimed,
            telemetry,
            steps,
            progress: Mutex::default(),
            ended: AtomicBool::new(false),
            lost: Signal::default(),
            renewal_ended: Notify::new(),
            renewal_unanswered: AtomicBool::new(false),
        })
    }

    /// 0 without a claim.
    pub(crate) fn fence(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.fence)
    }

    /// Whether another attempt at the key may be running still: an earlier one stopped without a result, or there is no
    /// claim at all.
    pub(crate) fn may_have_rival(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.recovering)
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(feature = "_sql")]
    pub(crate) fn set_progress(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// The handler has ended: its response is being stored or the key given up.
    pub(crate) fn end(&self) {
        self.ended.store(true, SeqCst);
    }

    #[cfg(feature = "_sql")]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// The claim may be another attempt's from now on.
    pub(crate) fn lose(&self, reason: &'static str) {
        if !self.lost.fired.swap(true, SeqCst) {
            telemetry::lost(self.attempt.key.as_str(), reason);
            self.lost.waiters.notify_waiters();
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.fired.load(SeqCst)
    }

    /// Resolves when the claim may have been lost.
    pub(crate) async fn lost(&self) {
        loop {
            // Made before the look, so that a loss after the look wakes it.
            let fired = self.lost.waiters.notified();
            if self.is_lost() {
                return;
            }
            fired.await;
        }
    }

    /// The claim as it stands, for a store that lost it.
    pub(super) fn standing(&self) -> Option<Acquired> {
        let held = self.held.as_ref()?;
        let steps = self.steps.saved();
        Some(Acquired { fence: held.fence, recovering: held.recovering || !steps.is_empty(), steps })
    }

    /// How long a renewal may take: not longer than what it renews.
    pub(super) fn renewal_limit(&self) -> Duration {
        self.engine.settings.store_timeout.min(self.attempt.lease / 3)
    }
}

/// Where the engine leaves the attempt, and the `Claim` extractor finds it.
#[derive(Default)]
pub(crate) struct ClaimCell {
    attempt: OnceLock<Arc<ActiveAttempt>>,
    /// What keys are derived from when the request has none of its own.
    nonce: OnceLock<Uuid>,
}

impl ClaimCell {
    /// The request's cell; whoever asks first, an extractor or the engine, makes it.
    ///
    /// One that is filled is the claim of a handler that passed its request on: the next one's is another.
    pub(crate) fn of(extensions: &mut Extensions) -> Arc<Self> {
        let cell = extensions.get_or_insert_default::<Arc<Self>>();
        if cell.attempt.get().is_some() {
            *cell = Arc::default();
        }
        cell.clone()
    }

    pub(super) fn fill(&self, attempt: &Arc<ActiveAttempt>) {
        // It is empty: `of` gave it to this request alone.
        let _ = self.attempt.set(Arc::clone(attempt));
    }

    pub(crate) fn attempt(&self) -> Option<&Arc<ActiveAttempt>> {
        self.attempt.get()
    }

    pub(crate) fn nonce(&self) -> &Uuid {
        self.nonce.get_or_init(Uuid::new_v4)
    }
}
