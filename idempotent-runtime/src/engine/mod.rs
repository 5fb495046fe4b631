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

#[cfg(feature = "_sql")]
pub(crate) use self::steps::{decode_one, encode_one};
pub(crate) use self::{
    admission::Admission,
    attempt::{ActiveAttempt, ClaimCell},
    protect::{CapturedRequest, protect, refuse},
    save_steps::NotSaved,
    steps::Value,
};
use self::{
    asked_lately::AskedLately, heartbeat::Heartbeats, load::Load, outage_log::OutageLog, token::Tokens,
    waiters::Waiters,
};
use crate::{
    byte_budget::ByteBudget,
    config::{AttemptFuture, settings::Settings},
    http::response::problem::{Problem, ProblemKind},
    journal::Journal,
    store::{StoreHandle, StoreKey},
    telemetry::{Metrics, RequestTelemetry},
};

/// How many KiB of responses that were sent may wait in memory to be stored. Beyond it, only the fact that the request
/// ran is stored.
const UNSAVED_KIB: usize = 64 << 10;

/// How many bytes of responses may be copied while they are sent. Beyond it, a response is stored without its body.
const MAX_COPIES: usize = 64 << 20;

/// How many claims that got no answer may be released in the background at once.
const RELEASES: usize = 10_000;

/// The user's handler, without the types of its last argument and its response.
pub(crate) type Handler = AttemptFuture;

/// A response, or the handler's panic.
pub(crate) type Replied = Result<Response, Box<dyn Any + Send>>;

/// What all clones of an `Idempotency` share.
pub(crate) struct Engine {
    pub(crate) settings: Settings,
    pub(crate) store: StoreHandle,
    pub(crate) journal: Option<Arc<dyn Journal>>,
    tokens: Tokens,
    waiters: Waiters,
    pub(crate) heartbeats: Heartbeats,
    /// Counts the requests in flight, for the bound and for a shutdown.
    pub(crate) load: Arc<Load>,
    /// Memory for the bodies of the requests in flight.
    bodies: Arc<ByteBudget>,
    /// Memory for the copies of responses whose bodies are still being sent.
    copies: Arc<ByteBudget>,
    releases: Arc<Semaphore>,
    /// Memory, in KiB, for responses that were sent and are still to be stored.
    unsaved: Arc<Semaphore>,
    outage_log: OutageLog,
    /// The keys that the journal was lately asked about while an attempt was running.
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
        // The journal stores the token too, and another process may read it there.
        let shared = store.is_shared() || journal.is_some();
        Self {
            settings,
            store,
            journal,
            tokens: Tokens::new(shared),
            waiters: Waiters::new(limits.waiters),
            heartbeats: Heartbeats::new(),
            load: Load::new(limits.in_flight),
            bodies: ByteBudget::of(limits.buffered),
            copies: ByteBudget::of(MAX_COPIES),
            releases: Arc::new(Semaphore::new(RELEASES)),
            unsaved: Arc::new(Semaphore::new(UNSAVED_KIB)),
            outage_log: OutageLog::default(),
            journal_asked: AskedLately::default(),
            metrics: metrics(),
        }
    }

    /// Called when a key was forgotten: one of the requests that wait for it may claim it.
    pub(crate) fn forgotten(&self, key: &StoreKey) {
        self.waiters.released(key);
    }

    fn answer(&self, problem: Problem, telemetry: &RequestTelemetry) -> Response {
        telemetry.refused(problem.kind() as usize, problem.kind().slug());
        self.settings.answer(problem)
    }
}

/// Which problems are counted where.
fn metrics() -> Metrics {
    let kinds = ProblemKind::ALL.into_iter();
    let of_handlers = kinds.clone().map(|kind| kind.is_of_handlers().then(|| kind.slug()));
    let turned_away = kinds.filter(|kind| kind.is_turned_away()).map(ProblemKind::slug);
    Metrics::new(of_handlers.collect(), turned_away)
}
