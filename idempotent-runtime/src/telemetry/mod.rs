//! What an operator sees. There is one function for each fact. A fact is a field or an event for `tracing` and, with
//! the feature `metrics`, a metric. The names are stable, and `docs/operations.md` lists them. No key and no body is
//! passed to this module.
//!
//! It imports nothing of this crate, so every module may use it.

mod anonymous;
#[cfg(feature = "metrics")]
mod described;
mod labels;
mod log_limit;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
mod no_metrics;

use std::{fmt, time::Duration};

use sha2::{Digest as _, Sha256};
use tracing::{
    Span,
    field::{Empty, display},
};

pub(crate) use self::anonymous::anonymous;
#[cfg(feature = "metrics")]
pub use self::described::STORE_SECONDS_BUCKETS;
pub(crate) use self::labels::{AttemptEnd, RequestOutcome, StoreOperation};
pub(crate) use self::log_limit::{LogLimit, limited};
#[cfg(feature = "metrics")]
pub(crate) use self::metrics::{GaugeGuard, HandlerMetrics, LoadMetrics, MemoryMetrics, Metrics, StoreMetrics, limit};
#[cfg(not(feature = "metrics"))]
pub(crate) use self::no_metrics::{
    GaugeGuard, HandlerMetrics, LoadMetrics, MemoryMetrics, Metrics, StoreMetrics, limit,
};

/// Adds one to a counter. Without the feature `metrics` it does nothing.
macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)*) => {{
        #[cfg(feature = "metrics")]
        ::metrics::counter!($name $(, $label => $value)*).increment(1);
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

/// The telemetry of one request with a key: its span, in which its attempt runs too, and its handler's metrics.
#[derive(Clone)]
pub(crate) struct RequestTelemetry {
    span: Span,
    metrics: HandlerMetrics,
}

impl RequestTelemetry {
    pub(crate) fn new(metrics: HandlerMetrics) -> Self {
        let span = tracing::info_span!(
            "idempotent",
            idempotency.handler = metrics.handler(),
            idempotency.digest = Empty,
            idempotency.outcome = Empty,
            idempotency.fence = Empty,
            idempotency.recovering = Empty,
            idempotency.lease_left_ms = Empty,
        );
        Self { span, metrics }
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

    /// The handler runs under a claim with this fencing token.
    pub(crate) fn runs(&self, name: &str, fence: u64, recovering: bool) {
        self.answered(if recovering { RequestOutcome::Recovered } else { RequestOutcome::Ran });
        self.span.record("idempotency.fence", fence).record("idempotency.recovering", recovering);
        if recovering {
            self.metrics.took_over();
            limited!(warn,
                idempotency.event = "takeover",
                idempotency.handler = self.metrics.handler(),
                idempotency.digest = %KeyDigest(name),
                idempotency.fence = fence,
                "an earlier attempt stopped without reporting a result"
            );
        }
    }

    /// The handler runs without a claim, because the store is down.
    pub(crate) fn runs_unprotected(&self, name: &str) {
        self.answered(RequestOutcome::Unprotected);
        limited!(warn,
            idempotency.outcome = "unprotected",
            idempotency.handler = self.metrics.handler(),
            idempotency.digest = %KeyDigest(name),
            "the handler runs while the store is down"
        );
    }

    /// The answer is a stored response.
    pub(crate) fn replayed(&self) {
        self.answered(RequestOutcome::Replayed);
        tracing::debug!(idempotency.outcome = "replayed", "answered with the stored response");
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
    pub(crate) fn ended(&self, name: &str, end: AttemptEnd) {
        self.metrics.ended(end);
        let (event, handler, digest) = (end.label(), self.metrics.handler(), KeyDigest(name));
        match end {
            AttemptEnd::Stored | AttemptEnd::Freed => {
                tracing::debug!(idempotency.event = event, idempotency.handler = handler, idempotency.digest = %digest, "an attempt ended");
            }
            AttemptEnd::Abandoned => limited!(warn,
                idempotency.event = event,
                idempotency.handler = handler,
                idempotency.digest = %digest,
                "an attempt ended, and its effects are unknown"
            ),
            AttemptEnd::Fenced => limited!(warn,
                idempotency.event = event,
                idempotency.handler = handler,
                idempotency.digest = %digest,
                "a response is not stored: another attempt has the key"
            ),
            // It is logged with its cause, by `unsaved`.
            AttemptEnd::Unsaved => {}
        }
    }

    /// An attempt ended, and the store did not take that, for this cause.
    pub(crate) fn unsaved(&self, name: &str, cause: &dyn fmt::Display) {
        self.ended(name, AttemptEnd::Unsaved);
        limited!(
            error,
            idempotency.event = AttemptEnd::Unsaved.label(),
            idempotency.handler = self.metrics.handler(),
            idempotency.digest = %KeyDigest(name),
            error = %cause,
            "response not stored; a retry may run again"
        );
    }

    fn answered(&self, outcome: RequestOutcome) {
        self.span.record("idempotency.outcome", outcome.label());
        self.metrics.requested(outcome);
    }
}

/// A request was refused before its handler was known: it has no valid key, its body cannot be read, or the service is
/// at its limit. It does not count among the requests of a handler.
pub(crate) fn turned_away(problem: &'static str, advice: &'static str) {
    count!("idempotency_turned_away_total", "outcome" => problem);
    tracing::debug!(idempotency.outcome = problem, advice, "a request was refused before its handler was known");
}

/// An attempt may have lost its claim.
pub(crate) fn lost(name: &str, handler: &'static str, reason: &'static str) {
    count!("idempotency_lost_leases_total");
    let digest = KeyDigest(name);
    limited!(warn,
        idempotency.event = "lost",
        idempotency.handler = handler,
        idempotency.digest = %digest,
        reason,
        "the claim may be lost"
    );
}

/// The store had lost the claim of a running attempt, and a heartbeat has created it again. The store may have lost
/// other records as well.
pub(crate) fn recreated(name: &str, handler: &'static str) {
    count!("idempotency_recreated_claims_total");
    limited!(error,
        idempotency.event = "recreated",
        idempotency.handler = handler,
        idempotency.digest = %KeyDigest(name),
        "the store had lost the claim of a running attempt, and it was created again: what else it lost runs again when \
         it is retried"
    );
}

/// The clean-up of our tables in a database.
#[cfg(feature = "_sql")]
pub(crate) mod clean_up {
    use std::fmt::Display;

    /// Expired rows were deleted.
    pub(crate) fn deleted(rows: u64) {
        #[cfg(feature = "metrics")]
        ::metrics::counter!("idempotency_expired_deleted_total").increment(rows);
        #[cfg(not(feature = "metrics"))]
        let _ = rows;
    }

    /// Expired rows of a table were not deleted, for this reason.
    pub(crate) fn failed(table: &str, error: &dyn Display) {
        count!("idempotency_cleanup_failures_total");
        tracing::warn!(%error, table, "expired rows were not deleted");
    }
}

/// Events of the Redis store.
#[cfg(feature = "redis")]
pub(crate) mod redis {
    use std::fmt::Display;

    /// The connection, or a server behind it, can no longer be used.
    pub(crate) fn lost(cause: &dyn Display, address: &str) {
        count!("idempotency_redis_lost_total");
        tracing::warn!(%cause, address, "connection to Redis lost, connecting again");
    }

    /// No connection can be made, for this reason. Logged once for each reason.
    pub(crate) fn down(cause: &dyn Display, address: &str) {
        tracing::warn!(%cause, address, "cannot connect to Redis: requests with a key are refused until it answers");
    }

    /// A new connection is open.
    pub(crate) fn connected(address: &str) {
        count!("idempotency_redis_connected_total");
        tracing::info!(address, "connected to Redis again");
    }

    /// Another process answers: the server was restarted, or a failover led to another server.
    pub(crate) fn restarted(address: &str) {
        count!("idempotency_redis_restarts_total");
        tracing::warn!(
            address,
            "another Redis process answers than before: what it does not know of is forgotten, and runs again when it is \
             retried"
        );
    }

    /// Records were evicted.
    pub(crate) fn evicted(address: &str, records: u64) {
        #[cfg(feature = "metrics")]
        ::metrics::counter!("idempotency_redis_evicted_total").increment(records);
        tracing::error!(
            address,
            records,
            "Redis evicted records: their requests run again when they are retried; set maxmemory-policy noeviction"
        );
    }
}
