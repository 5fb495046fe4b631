//! Describes the metrics to exporters, and starts each counter at zero, so that a rate includes the first event.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// Bucket bounds for the histograms, in seconds: from half a millisecond to ten seconds, with the tenth of the default
/// `store_timeout` at which the alert rules call a store slow.
///
/// The `metrics` facade leaves buckets to the exporter. Without them `metrics-exporter-prometheus` computes quantiles in each
/// process, which cannot be added up over processes:
///
/// ```
/// use idempotent_runtime::STORE_SECONDS_BUCKETS;
/// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
///
/// # fn main() -> Result<(), metrics_exporter_prometheus::BuildError> {
/// let names = Matcher::Prefix("idempotency_".to_owned());
/// let exporter = PrometheusBuilder::new().set_buckets_for_metric(names, &STORE_SECONDS_BUCKETS)?;
/// // Install it before the first `Idempotency` is built, because it registers the metrics.
/// let metrics = exporter.install_recorder()?;
/// println!("{}", metrics.render());
/// # Ok(()) }
/// ```
pub const STORE_SECONDS_BUCKETS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Describes each metric. An exporter keeps the last text, so this may be called again.
pub(super) fn describe() {
    for (name, means) in LABELLED_COUNTERS.iter().chain(COUNTERS).chain(OF_TABLES).chain(OF_REDIS) {
        describe_counter!(*name, Unit::Count, *means);
    }
    for (name, unit, means) in LABELLED_GAUGES.iter().chain(GAUGES) {
        describe_gauge!(*name, *unit, *means);
    }
    for (name, means) in HISTOGRAMS {
        describe_histogram!(*name, Unit::Seconds, *means);
    }
}

/// Registers the metrics that belong to no handler, with the value zero. Those of a handler are registered at its first
/// request.
pub(super) fn begin(namespace: &str, refused_early: impl Iterator<Item = &'static str>) {
    for outcome in refused_early {
        let _ = counter!("idempotency_turned_away_total", "namespace" => namespace.to_owned(), "outcome" => outcome);
    }
    let of_tables = OF_TABLES.iter().filter(|_| cfg!(feature = "_sql"));
    let of_redis = OF_REDIS.iter().filter(|_| cfg!(feature = "redis"));
    for (name, _) in COUNTERS.iter().chain(of_tables).chain(of_redis) {
        let _ = counter!(*name);
    }
    for (name, ..) in GAUGES {
        let _ = gauge!(*name);
    }
}

/// The counters with labels.
const LABELLED_COUNTERS: &[(&str, &str)] = &[
    ("idempotency_requests_total", "Requests with a key, by outcome"),
    ("idempotency_turned_away_total", "Requests that were refused before their handler was known"),
    ("idempotency_attempts_total", "Attempts that ran, by how they ended"),
    ("idempotency_takeovers_total", "Keys taken over from a dead attempt"),
    ("idempotency_unkeyed_total", "Requests without a key that ran unprotected"),
    ("idempotency_responses_too_large_total", "Responses over max_response, which cannot be replayed"),
];

const COUNTERS: &[(&str, &str)] = &[
    ("idempotency_lost_leases_total", "Claims that may have been lost while attempts ran"),
    ("idempotency_recreated_claims_total", "Claims that the store had lost while their attempts ran"),
];

const OF_TABLES: &[(&str, &str)] = &[
    ("idempotency_expired_deleted_total", "Expired rows that were deleted"),
    ("idempotency_cleanup_failures_total", "Attempts to delete expired rows that failed"),
];

const OF_REDIS: &[(&str, &str)] = &[
    ("idempotency_redis_lost_total", "Connections to Redis that were given up"),
    ("idempotency_redis_connected_total", "Connections to Redis that were made again"),
    ("idempotency_redis_restarts_total", "Redis restarts and failovers"),
    ("idempotency_redis_evicted_total", "Records that Redis evicted"),
];

/// The gauges with labels.
const LABELLED_GAUGES: &[(&str, Unit, &str)] = &[
    ("idempotency_in_flight", Unit::Count, "Requests with a key that are under way"),
    ("idempotency_in_flight_limit", Unit::Count, "The limit of idempotency_in_flight: max_in_flight"),
    ("idempotency_waiters", Unit::Count, "Duplicates that wait for the first attempt"),
    ("idempotency_store_timeout_seconds", Unit::Seconds, "The limit of a call to the store: store_timeout"),
];

const GAUGES: &[(&str, Unit, &str)] = &[
    ("idempotency_memory_records", Unit::Count, "Records in the memory stores of this process"),
    ("idempotency_memory_bytes", Unit::Bytes, "Bytes in the memory stores of this process"),
    ("idempotency_memory_bytes_limit", Unit::Bytes, "The limit of idempotency_memory_bytes: max_bytes"),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    ("idempotency_handler_seconds", "How long handlers run under a key"),
    ("idempotency_wait_seconds", "How long duplicates wait for the first attempt"),
    ("idempotency_store_seconds", "How long calls to the store take"),
];
