//! Runs one request once: claims its key, runs the attempt, stores its record. It knows no HTTP: an attempt is any future
//! that returns an [`Outcome`].

mod admit;
mod attempt;
mod background;
mod claim;
mod dated;
mod finish;
mod heartbeat;
mod outcome;
mod recover;
mod run;
mod steps;
mod token;
mod waiters;

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

#[cfg(feature = "_sql")]
pub(crate) use self::steps::{decode_one, encode_one};
pub(crate) use self::{
    admit::{Admission, NotAdmitted},
    attempt::{ActiveAttempt, ClaimCell},
    background::Later,
    outcome::{Answer, Outcome, Recordable, Refused, Reply, Stored},
    steps::{NotSaved, Value},
};
use self::{
    admit::{Load, Operations},
    dated::CLOCK_TOLERANCE,
    heartbeat::Heartbeats,
    recover::AskedLately,
    token::Tokens,
    waiters::Waiters,
};
use crate::{
    byte_budget::ByteBudget,
    config::{policy::Terms, settings::Settings},
    journal::Journal,
    store::{ClaimRequest, Fingerprint, StoreHandle, StoreKey},
    telemetry::{About, LogLimits, Metrics, RequestTelemetry},
};

/// How many KiB of responses that were sent may wait in memory to be stored. Beyond it, only the fact that the request
/// ran is stored.
const UNSAVED_KIB: usize = 64 << 10;

/// How many bytes of responses may be copied while they are sent. Beyond it, a response is stored without its body.
const MAX_COPIES: usize = 64 << 20;

/// How many claims that got no answer may be released in the background at once.
const RELEASES: usize = 10_000;

/// A request as the engine sees it.
pub(crate) struct Request {
    /// The name of its handler.
    pub(crate) handler: &'static str,
    /// The key, without quotes and in its one form.
    pub(crate) key: Box<str>,
    /// When the key was made, since 1970, if the key says so.
    pub(crate) made: Option<Duration>,
    /// What the store is asked for.
    pub(crate) claim: ClaimRequest,
    /// How long it waits for another attempt at the key. Zero: not at all.
    pub(crate) wait: Duration,
}

impl Request {
    /// What an event says of this request.
    fn about(&self) -> About<'_> {
        let fence = Some(self.claim.fence).filter(|fence| *fence > 0);
        About { handler: self.handler, name: self.claim.key.as_str(), fence }
    }
}

/// A request with all that is needed to run it once.
pub(crate) struct Execution<W> {
    pub(crate) engine: Arc<Engine>,
    pub(crate) request: Request,
    /// Where the running code finds its claim.
    pub(crate) cell: Arc<ClaimCell>,
    pub(crate) admission: Admission,
    pub(crate) telemetry: RequestTelemetry,
    /// Makes the attempt's future, which is polled only under the claim. It is small, and the future may be large.
    pub(crate) work: W,
}

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
    pub(crate) copies: Arc<ByteBudget>,
    releases: Arc<Semaphore>,
    /// Memory, in KiB, for responses that were sent and are still to be stored.
    unsaved: Arc<Semaphore>,
    /// Limits how often an outage is logged.
    outages_logged: LogLimits,
    pub(crate) operations: Operations,
    /// The keys that the journal was lately asked about while an attempt was running.
    journal_asked: AskedLately,
    pub(crate) metrics: Metrics,
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
        metrics: Metrics,
    ) -> Self {
        // The journal stores the token too, and another process may read it there.
        let shared = store.is_shared() || journal.is_some();
        metrics.load().limits(limits.in_flight, settings.store_timeout);
        Self {
            settings,
            store,
            journal,
            tokens: Tokens::new(shared),
            waiters: Waiters::new(limits.waiters, metrics.load()),
            heartbeats: Heartbeats::new(),
            load: Load::new(limits.in_flight, metrics.load()),
            bodies: ByteBudget::new(limits.buffered),
            copies: ByteBudget::new(MAX_COPIES),
            releases: Arc::new(Semaphore::new(RELEASES)),
            unsaved: Arc::new(Semaphore::new(UNSAVED_KIB)),
            outages_logged: LogLimits::default(),
            operations: Operations::default(),
            journal_asked: AskedLately::default(),
            metrics,
        }
    }

    /// Called when a key was forgotten: one of the requests that wait for it may claim it.
    pub(crate) fn forgotten(&self, key: &StoreKey) {
        self.waiters.released(key);
    }

    /// A request, with the claim that the store is asked for. `made`: when the key was made, if it says so.
    pub(crate) fn request(
        &self,
        handler: &'static str,
        (key, made): (Box<str>, Option<Duration>),
        name: StoreKey,
        fingerprint: Fingerprint,
        Terms { lease, ttl, takeover, wait, .. }: Terms,
    ) -> Request {
        // By a clock that is behind, a key that says when it was made is valid for longer. Its record must exist for as
        // long.
        let ttl = if made.is_some() { ttl + CLOCK_TOLERANCE } else { ttl };
        let token = self.tokens.next(&fingerprint);
        let claim = ClaimRequest { key: name, token, fingerprint, lease, ttl, takeover, fence: 0 };
        Request { handler, key, made, claim, wait }
    }
}
