//! What an operator sees: one function a fact, each a field or an event for `tracing` and, with the feature `metrics`, a
//! number. Names are stable, and `docs/operations.md` lists them. Neither a key nor a body ever comes in here.
//!
//! Imports nothing of this crate, so that everything may report.

mod metrics;

use std::{fmt, time::Duration};

use sha2::{Digest as _, Sha256};
use tracing::{
    Span,
    field::{Empty, display},
};

pub(crate) use self::metrics::{
    GaugeGuard, HandlerMetrics, LoadMetrics, MemoryMetrics, Metrics, RequestOutcome, StoreMetrics, StoreOperation,
};

/// Counts by one; without the feature there is nobody to count for.
macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)*) => {{
        #[cfg(feature = "metrics")]
        ::metrics::counter!($name $(, $label => $value)*).increment(1);
    }};
}

/// Stands for a key in logs: the first 16 hexadecimal digits of the SHA-256 of its name in the store. A table of ours has
/// the same digits, all 64 of them; nobody can send it as a key. It is hashed only where somebody listens.
pub(crate) struct KeyDigest<'a>(pub(crate) &'a str);

impl fmt::Display for KeyDigest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Sha256::digest(self.0.as_bytes()).iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is reported of one request with a key: its span, in which its attempt runs too, and its handler's numbers.
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
            idempotency.attempt = Empty,
            idempotency.recovering = Empty,
            idempotency.lease_left_ms = Empty,
        );
        Self { span, metrics }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The request's name in the store is known.
    pub(crate) fn named(&self, name: &str) {
        if !self.span.is_disabled() {
            self.span.record("idempotency.digest", display(KeyDigest(name)));
        }
    }

    /// The handler runs under a claim of this fence.
    pub(crate) fn runs(&self, name: &str, fence: u64, recovering: bool) {
        self.answered(if recovering { RequestOutcome::Recovered } else { RequestOutcome::Ran });
        self.span.record("idempotency.attempt", fence).record("idempotency.recovering", recovering);
        if recovering {
            self.metrics.took_over();
            tracing::warn!(
                idempotency.outcome = "takeover",
                handler = self.metrics.handler(),
                idempotency.digest = %KeyDigest(name),
                idempotency.attempt = fence,
                "an earlier attempt stopped without reporting a result"
            );
        }
    }

    /// The handler runs without a claim, since the store is down.
    pub(crate) fn runs_unprotected(&self, name: &str) {
        self.answered(RequestOutcome::Unprotected);
        tracing::warn!(
            idempotency.outcome = "unprotected",
            handler = self.metrics.handler(),
            idempotency.digest = %KeyDigest(name),
            "the handler runs while the store is down"
        );
    }

    /// A stored response is the answer.
    pub(crate) fn replayed(&self) {
        self.answered(RequestOutcome::Replayed);
        tracing::debug!(idempotency.outcome = "replayed", "answered with the stored response");
    }

    /// A problem is the answer; its number in the list of problems, and its slug.
    pub(crate) fn refused(&self, problem: usize, slug: &'static str) {
        self.span.record("idempotency.outcome", slug);
        self.metrics.requested(RequestOutcome::Problem(problem));
        tracing::debug!(idempotency.outcome = slug, "answered with a problem");
    }

    /// Another attempt runs, and this is left of its lease.
    pub(crate) fn meets_running(&self, left: Duration) {
        self.span.record("idempotency.lease_left_ms", u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    }

    /// An attempt ended.
    pub(crate) fn ended(&self, name: &str, end: AttemptEnd) {
        self.metrics.ended(end);
        let (outcome, handler, digest) = (end.label(), self.metrics.handler(), KeyDigest(name));
        match end {
            AttemptEnd::Stored | AttemptEnd::Freed => {
                tracing::debug!(idempotency.outcome = outcome, handler, idempotency.digest = %digest, "an attempt ended");
            }
            AttemptEnd::Abandoned => tracing::warn!(
                idempotency.outcome = outcome,
                handler,
                idempotency.digest = %digest,
                "an attempt ended, and what it did is unknown"
            ),
            AttemptEnd::Fenced => tracing::warn!(
                idempotency.outcome = outcome,
                handler,
                idempotency.digest = %digest,
                "a response is not stored: another attempt has the key"
            ),
            AttemptEnd::Unsaved => tracing::error!(
                idempotency.outcome = outcome,
                handler,
                idempotency.digest = %digest,
                "the store did not take the end of an attempt"
            ),
        }
    }

    fn answered(&self, outcome: RequestOutcome) {
        self.span.record("idempotency.outcome", outcome.label());
        self.metrics.requested(outcome);
    }
}

/// How an attempt ended that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// Its response is stored.
    Stored,
    /// Another attempt had the key by then, so the response is not stored.
    Fenced,
    /// The key is free again.
    Freed,
    /// The lease is over, and what the attempt did is unknown.
    Abandoned,
    /// The store did not take the end within the time or the memory that there is for it.
    Unsaved,
}

impl AttemptEnd {
    #[cfg_attr(not(feature = "metrics"), allow(dead_code))]
    pub(crate) const ALL: [Self; 5] = [Self::Stored, Self::Fenced, Self::Freed, Self::Abandoned, Self::Unsaved];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Fenced => "fenced",
            Self::Freed => "freed",
            Self::Abandoned => "abandoned",
            Self::Unsaved => "unsaved",
        }
    }
}

/// A request is refused before its handler is known: it has no key or no valid one, its body cannot be read, or there is no
/// room for it. It is none of the requests with a key, which are counted by their handlers.
pub(crate) fn turned_away(problem: &'static str) {
    count!("idempotency_turned_away_total", "outcome" => problem);
    tracing::debug!(idempotency.outcome = problem, "answered before the handler was asked");
}

/// An attempt may have lost its claim.
pub(crate) fn lost(name: &str, reason: &'static str) {
    count!("idempotency_lost_leases_total");
    let digest = KeyDigest(name);
    tracing::warn!(idempotency.outcome = "lost", idempotency.digest = %digest, reason, "the claim may be lost");
}

/// The store had lost a claim whose attempt runs, and a heartbeat created it again. Records of others may be lost as well.
pub(crate) fn recreated(name: &str) {
    count!("idempotency_recreated_claims_total");
    tracing::error!(
        idempotency.outcome = "recreated",
        idempotency.digest = %KeyDigest(name),
        "the store had lost the claim of a running attempt, and it was created again: what else it lost runs again when \
         it is retried"
    );
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

    /// No connection can be made, for this reason; logged once for each.
    pub(crate) fn down(cause: &dyn Display, address: &str) {
        tracing::warn!(%cause, address, "cannot connect to Redis: requests with a key are refused until it answers");
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
        ::metrics::counter!("idempotency_redis_evicted_total").increment(records);
        tracing::error!(
            address,
            records,
            "Redis evicted records: their requests run again when they are retried; set maxmemory-policy noeviction"
        );
    }
}
