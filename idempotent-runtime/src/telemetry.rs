//! What an operator sees: one function a fact, each a field or an event for `tracing` and, with the feature `metrics`, a
//! number. Names are stable, and `docs/operations.md` lists them. Neither a key nor a body ever comes in here.

use std::{future::Future, time::Duration};

use tokio::sync::OwnedSemaphorePermit;
use tracing::{Span, field::Empty};

use crate::{
    response::problem::ProblemKind,
    store::{CompleteOutcome, StoreError},
};

/// Counts by one; without the feature there is nobody to count for.
macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)*) => {{
        #[cfg(feature = "metrics")]
        metrics::counter!($name $(, $label => $value)*).increment(1);
    }};
}

/// The span of a request with a key. The facts about it are recorded in it, and its detached attempt runs in it.
pub(crate) fn request(handler: &'static str) -> Span {
    tracing::info_span!(
        "idempotent",
        idempotency.handler = handler,
        idempotency.outcome = Empty,
        idempotency.attempt = Empty,
        idempotency.recovering = Empty,
        idempotency.lease_left_ms = Empty,
    )
}

/// The handler runs: with a claim of this fence, or without one because the store is down.
pub(crate) fn runs(handler: &'static str, fence: Option<u64>, recovering: bool) {
    let outcome = match fence {
        Some(_) if recovering => "recovered",
        Some(_) => "ran",
        None => "unprotected",
    };
    answered(handler, outcome);
    if let Some(fence) = fence {
        Span::current().record("idempotency.attempt", fence).record("idempotency.recovering", recovering);
    } else {
        tracing::warn!(idempotency.outcome = outcome, handler, "runs while the store is down");
    }
    if recovering {
        count!("idempotency_takeovers_total", "handler" => handler);
        tracing::warn!(
            idempotency.outcome = "takeover",
            handler,
            idempotency.attempt = fence,
            "an earlier attempt died"
        );
    }
}

/// A stored response is the answer.
pub(crate) fn replayed(handler: &'static str) {
    answered(handler, "replayed");
    tracing::debug!(idempotency.outcome = "replayed", "answered with the stored response");
}

/// A problem is the answer.
pub(crate) fn refused(handler: &'static str, problem: ProblemKind) {
    answered(handler, problem.slug());
    tracing::debug!(idempotency.outcome = problem.slug(), "answered in the handler's place");
}

/// A request is refused before its handler is known: it has no key or no valid one, its body cannot be read, or there is no
/// room for it. It is none of the requests with a key, which are counted by their handlers.
pub(crate) fn turned_away(problem: ProblemKind) {
    count!("idempotency_turned_away_total", "outcome" => problem.slug());
    tracing::debug!(idempotency.outcome = problem.slug(), "answered before the handler was asked");
}

/// Another attempt runs, and this is left of its lease.
pub(crate) fn meets_running(left: Duration) {
    Span::current().record("idempotency.lease_left_ms", u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
}

#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "only counted by handler"))]
fn answered(handler: &'static str, outcome: &'static str) {
    Span::current().record("idempotency.outcome", outcome);
    count!("idempotency_requests_total", "handler" => handler, "outcome" => outcome);
}

/// How an attempt ended that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its response settles the key.
    Stored,
    /// The key was another attempt's by then, so the response is not stored.
    Fenced,
    /// The key is free again.
    Freed,
    /// The lease is over, and the outcome unknown.
    Abandoned,
    /// The store did not take the end within the time or the memory that there is for it.
    Unsaved,
}

impl From<CompleteOutcome> for End {
    fn from(completion: CompleteOutcome) -> Self {
        match completion {
            CompleteOutcome::Stored | CompleteOutcome::AlreadyStored => Self::Stored,
            CompleteOutcome::Lost => Self::Fenced,
        }
    }
}

/// An attempt ended.
#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "only counted by handler"))]
pub(crate) fn ended(handler: &'static str, end: End) {
    let outcome = match end {
        End::Stored => "stored",
        End::Fenced => "fenced",
        End::Freed => "freed",
        End::Abandoned => "abandoned",
        End::Unsaved => "unsaved",
    };
    count!("idempotency_attempts_total", "handler" => handler, "end" => outcome);
    match end {
        End::Stored | End::Freed => tracing::debug!(idempotency.outcome = outcome, "an attempt ended"),
        End::Abandoned => tracing::warn!(idempotency.outcome = outcome, "an attempt ended, and its outcome is unknown"),
        End::Fenced => {
            tracing::warn!(idempotency.outcome = outcome, "a response is not stored: the key is another attempt's");
        }
        End::Unsaved => tracing::error!(idempotency.outcome = outcome, "the end of an attempt is not stored"),
    }
}

/// A claim is no longer surely its attempt's.
pub(crate) fn lost(reason: &'static str) {
    count!("idempotency_lost_leases_total");
    tracing::warn!(idempotency.outcome = "lost", reason, "the claim is lost");
}

/// Measures a call to the store.
pub(crate) async fn store_call<T>(
    call: &'static str,
    future: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    #[cfg(not(feature = "metrics"))]
    {
        let _ = call;
        future.await
    }
    #[cfg(feature = "metrics")]
    {
        let mut timed = Timed { call, result: "dropped", since: std::time::Instant::now() };
        let answer = future.await;
        timed.result = match &answer {
            Ok(_) => "ok",
            Err(StoreError::Timeout) => "timeout",
            Err(StoreError::Unreachable(_)) => "unreachable",
            Err(StoreError::Down(_)) => "down",
            Err(StoreError::Forbidden(_)) => "forbidden",
            Err(StoreError::Full(_)) => "full",
            Err(StoreError::Refused(_)) => "refused",
        };
        answer
    }
}

/// A call that its caller gives up is counted too: these are the slow ones.
#[cfg(feature = "metrics")]
struct Timed {
    call: &'static str,
    result: &'static str,
    since: std::time::Instant,
}

#[cfg(feature = "metrics")]
impl Drop for Timed {
    fn drop(&mut self) {
        metrics::histogram!("idempotency_store_seconds", "call" => self.call, "result" => self.result)
            .record(self.since.elapsed());
    }
}

/// How many there are at the moment, for as long as this lives.
pub(crate) struct GaugeGuard(#[cfg_attr(not(feature = "metrics"), allow(dead_code))] &'static str);

impl GaugeGuard {
    fn new(name: &'static str) -> Self {
        #[cfg(feature = "metrics")]
        metrics::gauge!(name).increment(1.0);
        Self(name)
    }

    /// A duplicate waits for the first attempt.
    pub(crate) fn waiter() -> Self {
        Self::new("idempotency_waiters")
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        metrics::gauge!(self.0).decrement(1.0);
    }
}

/// The place of a request with a key among those that may be in flight.
pub(crate) struct InFlight {
    _permit: OwnedSemaphorePermit,
    _present: GaugeGuard,
}

impl InFlight {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit, _present: GaugeGuard::new("idempotency_in_flight") }
    }
}

/// What the Redis store sees of its servers.
#[cfg(feature = "redis")]
pub(crate) mod redis {
    use std::fmt::Display;

    /// The connection is of no use any more, or a server behind it.
    pub(crate) fn lost(cause: &dyn Display, address: &str) {
        count!("idempotency_redis_lost_total");
        tracing::warn!(%cause, address, "connection to Redis lost, connecting again");
    }

    /// There is another connection.
    pub(crate) fn connected(address: &str) {
        count!("idempotency_redis_connected_total");
        tracing::info!(address, "connected to Redis again");
    }

    /// Another process answers: the server was restarted, or a failover led to another one.
    pub(crate) fn restarted(address: &str) {
        count!("idempotency_redis_restarts_total");
        tracing::warn!(
            address,
            "another Redis process answers than before: what it does not know of is forgotten, and runs again when it is \
             retried"
        );
    }

    /// Records were dropped before their time.
    pub(crate) fn evicted(address: &str, records: u64) {
        #[cfg(feature = "metrics")]
        metrics::counter!("idempotency_redis_evicted_total").increment(records);
        tracing::error!(
            address,
            records,
            "Redis evicted records: their requests run again when they are retried; set maxmemory-policy noeviction"
        );
    }
}
