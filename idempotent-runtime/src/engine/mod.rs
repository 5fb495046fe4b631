//! One request: acquire the key, run the handler, store its response, answer.

mod acquire;
mod admission;
mod asked_lately;
mod attempt;
pub(crate) mod deadline;
mod ending;
mod heartbeat;
mod in_place;
mod journaled;
mod load;
mod outage_log;
mod outcome;
mod protect;
mod recover;
mod release;
mod run;
mod save_steps;
mod steps;
mod store_behind;
mod store_late;
mod token;
mod waiters;

use std::{any::Any, sync::Arc};

use axum::response::Response;
use tokio::sync::Semaphore;

pub(crate) use self::{
    admission::Admission,
    attempt::{ActiveAttempt, ClaimCell},
    protect::{CapturedRequest, protect, refuse},
    save_steps::NotSaved,
    steps::Value,
};
use self::{
    asked_lately::AskedLately, heartbeat::OwnedHeartbeats, load::Load, outage_log::OutageLog, token::Tokens,
    waiters::Waiters,
};
use crate::{
    config::{AttemptFuture, settings::Settings},
    journal::Journal,
    request::room::Room,
    response::problem::{Problem, ProblemKind},
    store::{StoreHandle, StoreKey},
    telemetry::{Metrics, RequestTelemetry},
};

/// So much of responses whose storing failed may wait in memory, in KiB; beyond it, only that they were is kept.
const UNSAVED_KIB: usize = 64 << 10;

/// So many bytes of responses that are being sent may be copied at once; beyond it, they are not stored whole.
const MAX_COPIES: usize = 64 << 20;

/// So many claims without an answer are set free behind their requests at once.
const RELEASES: usize = 10_000;

/// The user's handler, its last argument and its return type gone.
pub(crate) type Handler = AttemptFuture;

/// A response, or the panic that the handler ended in.
pub(crate) type Replied = Result<Response, Box<dyn Any + Send>>;

/// What all clones of an `Idempotency` share.
pub(crate) struct Engine {
    pub(crate) settings: Settings,
    pub(crate) store: StoreHandle,
    pub(crate) journal: Option<Arc<dyn Journal>>,
    tokens: Tokens,
    waiters: Waiters,
    heartbeats: OwnedHeartbeats,
    /// What is in flight, so that it is bounded and a shutdown can wait for it.
    pub(crate) load: Arc<Load>,
    /// For the bodies of the requests in flight.
    pub(crate) room: Arc<Room>,
    /// For the copies of responses whose bodies are still coming.
    copies: Arc<Room>,
    releases: Arc<Semaphore>,
    /// KiB of responses that were sent and are still to be stored.
    unsaved: Arc<Semaphore>,
    outage_log: OutageLog,
    /// The keys about which the journal was asked while their attempts ran.
    journal_asked: AskedLately,
    metrics: Metrics,
}

/// The bounds of an engine.
pub(crate) struct Limits {
    /// Requests with a key.
    pub(crate) in_flight: usize,
    /// Waiting duplicates of one key.
    pub(crate) waiters: usize,
    /// Bytes of bodies.
    pub(crate) buffered: usize,
}

impl Engine {
    pub(crate) fn new(
        settings: Settings,
        store: StoreHandle,
        journal: Option<Arc<dyn Journal>>,
        limits: &Limits,
    ) -> Self {
        // A token stands in the journal as well, where another process may read it.
        let shared = store.is_shared() || journal.is_some();
        Self {
            settings,
            store,
            journal,
            tokens: Tokens::new(shared),
            waiters: Waiters::new(limits.waiters),
            heartbeats: OwnedHeartbeats::new(),
            load: Load::new(limits.in_flight),
            room: Room::of(limits.buffered),
            copies: Room::of(MAX_COPIES),
            releases: Arc::new(Semaphore::new(RELEASES)),
            unsaved: Arc::new(Semaphore::new(UNSAVED_KIB)),
            outage_log: OutageLog::default(),
            journal_asked: AskedLately::default(),
            metrics: Metrics::new(&ProblemKind::SLUGS),
        }
    }

    /// A key was forgotten: who waits for it may claim it.
    pub(crate) fn forgotten(&self, key: &StoreKey) {
        self.waiters.released(key);
    }

    fn answer(&self, problem: Problem, telemetry: &RequestTelemetry) -> Response {
        telemetry.refused(problem.kind() as usize, problem.kind().slug());
        self.settings.answer(problem)
    }
}
