//! What an operator sees. There is one function for each fact. A fact is a field or an event for `tracing` and, with
//! the feature `metrics`, a metric. The names are stable, and `docs/operations.md` lists them. No key and no body is
//! passed to this module.
//!
//! It imports nothing of this crate, so every module may use it.

#[cfg(feature = "metrics")]
mod described;
mod labels;
mod log_limit;
pub(crate) mod log_texts;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
mod no_metrics;
mod traceparent;

use std::{fmt, time::Duration};

use sha2::{Digest as _, Sha256};
use tracing::{
    Span,
    field::{Empty, display},
};

#[cfg(feature = "metrics")]
pub use self::described::STORE_SECONDS_BUCKETS;
#[allow(unreachable_pub)] // tests make single calls fail
pub use self::labels::StoreOperation;
pub(crate) use self::labels::{AttemptEnd, RequestOutcome};
pub(crate) use self::log_limit::{LogLimit, LogLimits, anonymous, limited, log};
#[cfg(feature = "metrics")]
pub(crate) use self::metrics::{
    GaugeGuard, HandlerMetrics, LoadMetrics, MemoryMetrics, Metrics, StoreMetrics, Timer, limit,
};
#[cfg(not(feature = "metrics"))]
pub(crate) use self::no_metrics::{
    GaugeGuard, HandlerMetrics, LoadMetrics, MemoryMetrics, Metrics, StoreMetrics, Timer, limit,
};

pub use self::traceparent::FirstTraceparent;

/// Adds to a counter, one if nothing else is said. Without the feature `metrics` it does nothing.
macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)*) => { count!($name, by 1 $(, $label => $value)*) };
    ($name:literal, by $many:expr $(, $label:literal => $value:expr)*) => {{
        #[cfg(feature = "metrics")]
        ::metrics::counter!($name $(, $label => $value)*).increment($many);
        #[cfg(not(feature = "metrics"))]
        let _ = || ($many, $($value),*);
    }};
}

/// Represents a key in logs: the first 16 hexadecimal digits of the SHA-256 of its name in the store. Our tables have
/// the same digest, with all its 64 digits. Nobody can use it as a key. It is calculated only if the span is enabled.
pub(crate) struct KeyDigest<'a>(pub(crate) &'a str);

impl fmt::Display for KeyDigest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Sha256::digest(self.0.as_bytes()).iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Which attempt an event is about. Its span says so too, but a filter of the log may leave the span out.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) handler: &'static str,
    /// The request's name in the store.
    pub(crate) name: &'a str,
    /// The fence of the attempt's claim, if it has one.
    pub(crate) fence: Option<u64>,
}

impl<'a> About<'a> {
    pub(crate) fn digest(&self) -> KeyDigest<'a> {
        KeyDigest(self.name)
    }
}

/// The telemetry of one request with a key: its span, in which its attempt runs too, and its handler's metrics.
#[derive(Clone)]
pub(crate) struct RequestTelemetry {
    span: Span,
    metrics: HandlerMetrics,
    /// The trace of this request, if it has one.
    trace: Option<FirstTraceparent>,
}

impl RequestTelemetry {
    pub(crate) fn new(metrics: HandlerMetrics, trace: Option<FirstTraceparent>) -> Self {
        let span = tracing::info_span!(
            "idempotent",
            idempotency.handler = metrics.handler(),
            idempotency.digest = Empty,
            idempotency.outcome = Empty,
            idempotency.fence = Empty,
            idempotency.recovering = Empty,
            idempotency.lease_left_ms = Empty,
            idempotency.first_traceparent = Empty,
        );
        Self { span, metrics, trace }
    }

    pub(crate) fn trace(&self) -> Option<&FirstTraceparent> {
        self.trace.as_ref()
    }

    /// Measures a run of the handler, until the timer is dropped.
    pub(crate) fn timer(&self) -> Timer {
        self.metrics.timer()
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Called when the request's name in the store is known.
    pub(crate) fn named(&self, name: &str) {
        if !self.span.is_disabled() {
            self.span.record("idempotency.digest", display(KeyDigest(name)));
        }
    }

    pub(crate) fn about<'a>(&self, name: &'a str, fence: Option<u64>) -> About<'a> {
        About { handler: self.metrics.handler(), name, fence }
    }

    /// The handler runs under a claim with this fencing token.
    pub(crate) fn runs(&self, name: &str, fence: u64, recovering: bool) {
        self.answered(if recovering { RequestOutcome::Recovered } else { RequestOutcome::Ran });
        self.span.record("idempotency.fence", fence).record("idempotency.recovering", recovering);
        if recovering {
            self.metrics.took_over();
            limited!(TAKEOVER; self.about(name, Some(fence)), idempotency.event = "takeover");
        }
    }

    /// The handler runs without a claim, because the store is down.
    pub(crate) fn runs_unprotected(&self, name: &str) {
        self.answered(RequestOutcome::Unprotected);
        limited!(UNPROTECTED; self.about(name, None), idempotency.outcome = "unprotected");
    }

    /// The answer is a stored response. `first`: the trace of the request that it was made for.
    pub(crate) fn replayed(&self, first: Option<&FirstTraceparent>) {
        self.answered(RequestOutcome::Replayed);
        self.first(first);
        let first = first.map(FirstTraceparent::as_str);
        tracing::debug!(
            idempotency.outcome = "replayed",
            idempotency.first_traceparent = first,
            "answered with the stored response"
        );
    }

    /// A response that was made for another request is sent.
    pub(crate) fn first(&self, first: Option<&FirstTraceparent>) {
        if let Some(first) = first {
            self.span.record("idempotency.first_traceparent", first.as_str());
        }
    }

    /// The answer is a problem, given by its number in the list of problems, its slug, and what operators can do.
    pub(crate) fn refused(&self, problem: usize, slug: &'static str, advice: &'static str) {
        self.span.record("idempotency.outcome", slug);
        self.metrics.requested(RequestOutcome::Problem(problem));
        tracing::debug!(idempotency.outcome = slug, advice, "answered with a problem");
    }

    /// Another attempt is running, and its lease ends after `left`.
    pub(crate) fn meets_running(&self, left: Duration) {
        self.span.record("idempotency.lease_left_ms", u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    }

    /// An attempt ended.
    pub(crate) fn ended(&self, about: About<'_>, end: AttemptEnd) {
        self.metrics.ended(end);
        match end {
            AttemptEnd::Stored | AttemptEnd::Freed => {
                let About { handler, fence, .. } = about;
                tracing::debug!(idempotency.event = end.label(), idempotency.handler = handler, idempotency.digest = %about.digest(), idempotency.fence = fence, "an attempt ended");
            }
            AttemptEnd::Abandoned => limited!(ABANDONED; about, idempotency.event = end.label()),
            AttemptEnd::Fenced => limited!(FENCED; about, idempotency.event = end.label()),
            // It is logged with its cause, by `unsaved`.
            AttemptEnd::Unsaved => {}
        }
    }

    /// An attempt ended, and the store did not take that, for this cause.
    pub(crate) fn unsaved(&self, about: About<'_>, cause: &dyn fmt::Display) {
        self.ended(about, AttemptEnd::Unsaved);
        limited!(NOT_STORED; about, idempotency.event = AttemptEnd::Unsaved.label(), error = %cause);
    }

    fn answered(&self, outcome: RequestOutcome) {
        self.span.record("idempotency.outcome", outcome.label());
        self.metrics.requested(outcome);
    }
}

/// A request was refused before its handler was known: it has no valid key, its body cannot be read, or the service is
/// at its limit. It does not count among the requests of a handler.
pub(crate) fn refused_early(namespace: &str, problem: &'static str, advice: &'static str) {
    count!("idempotency_turned_away_total", "namespace" => namespace.to_owned(), "outcome" => problem);
    tracing::debug!(idempotency.outcome = problem, advice, "a request was refused before its handler was known");
}

/// A response is larger than the limit, so only the fact that its request ran is stored.
pub(crate) fn too_large(metrics: &HandlerMetrics, digest: Option<KeyDigest<'_>>, limit: usize) {
    metrics.too_large();
    let (handler, digest) = (metrics.handler(), digest.map(display));
    limited!(RESPONSE_TOO_LARGE, idempotency.handler = handler, idempotency.digest = digest, max_response = limit);
}

/// An attempt may have lost its claim.
pub(crate) fn lost(about: About<'_>, reason: &'static str) {
    count!("idempotency_lost_leases_total");
    limited!(CLAIM_LOST; about, idempotency.event = "lost", reason);
}

/// The store had lost the claim of a running attempt, and a heartbeat has created it again. The store may have lost
/// other records as well.
pub(crate) fn recreated(about: About<'_>) {
    count!("idempotency_recreated_claims_total");
    limited!(RECREATED; about, idempotency.event = "recreated");
}

/// The clean-up of our tables in a database.
#[cfg(feature = "_sql")]
pub(crate) mod clean_up {
    use std::fmt::Display;

    use super::log;

    /// Expired rows were deleted.
    pub(crate) fn deleted(rows: u64) {
        count!("idempotency_expired_deleted_total", by rows);
    }

    /// Expired rows of a table were not deleted, for this reason.
    pub(crate) fn failed(table: &str, error: &dyn Display) {
        count!("idempotency_cleanup_failures_total");
        log!(ROWS_NOT_DELETED, %error, table);
    }
}

/// Events of the Redis store.
#[cfg(feature = "redis")]
pub(crate) mod redis {
    use std::fmt::Display;

    use super::log;

    /// The connection, or a server behind it, can no longer be used.
    pub(crate) fn lost(cause: &dyn Display, address: &str) {
        count!("idempotency_redis_lost_total");
        log!(REDIS_LOST, %cause, address);
    }

    /// No connection can be made, for this reason. Logged once for each reason.
    pub(crate) fn down(cause: &dyn Display, address: &str) {
        log!(REDIS_DOWN, %cause, address);
    }

    /// A new connection is open.
    pub(crate) fn connected(address: &str) {
        count!("idempotency_redis_connected_total");
        tracing::info!(address, "connected to Redis again");
    }

    /// Another process answers: the server was restarted, or a failover led to another server.
    pub(crate) fn restarted(address: &str) {
        count!("idempotency_redis_restarts_total");
        log!(REDIS_RESTARTED, address);
    }

    /// Records were evicted.
    pub(crate) fn evicted(address: &str, records: u64) {
        count!("idempotency_redis_evicted_total", by records);
        log!(REDIS_EVICTED, address, records);
    }
}
