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
    describe_counter!("idempotency_requests_total", Unit::Count, "Requests with a key, by outcome");
    describe_counter!(
        "idempotency_turned_away_total",
        Unit::Count,
        "Requests that were refused before their handler was known"
    );
    describe_counter!("idempotency_attempts_total", Unit::Count, "Attempts that ran, by how they ended");
    describe_counter!("idempotency_takeovers_total", Unit::Count, "Keys taken over from a dead attempt");
    describe_counter!("idempotency_unkeyed_total", Unit::Count, "Requests without a key that ran unprotected");
    describe_counter!(
        "idempotency_responses_too_large_total",
        Unit::Count,
        "Responses over max_response, which cannot be replayed"
    );
    describe_gauge!("idempotency_in_flight_limit", Unit::Count, "The limit of idempotency_in_flight: max_in_flight");
    describe_gauge!(
        "idempotency_store_timeout_seconds",
        Unit::Seconds,
        "The limit of a call to the store: store_timeout"
    );
    describe_histogram!("idempotency_handler_seconds", Unit::Seconds, "How long handlers run under a key");
    describe_histogram!("idempotency_wait_seconds", Unit::Seconds, "How long duplicates wait for the first attempt");
    describe_gauge!("idempotency_memory_bytes_limit", Unit::Bytes, "The limit of idempotency_memory_bytes: max_bytes");
    describe_counter!("idempotency_expired_deleted_total", Unit::Count, "Expired rows that were deleted");
    describe_counter!("idempotency_cleanup_failures_total", Unit::Count, "Attempts to delete expired rows that failed");
    describe_counter!(
        "idempotency_lost_leases_total",
        Unit::Count,
        "Claims that may have been lost while attempts ran"
    );
    describe_counter!(
        "idempotency_recreated_claims_total",
        Unit::Count,
        "Claims that the store had lost while their attempts ran"
    );
    describe_gauge!("idempotency_in_flight", Unit::Count, "Requests with a key that are under way");
    describe_gauge!("idempotency_waiters", Unit::Count, "Duplicates that wait for the first attempt");
    describe_histogram!("idempotency_store_seconds", Unit::Seconds, "How long calls to the store take");
    describe_gauge!("idempotency_memory_records", Unit::Count, "Records in the memory stores of this process");
    describe_gauge!("idempotency_memory_bytes", Unit::Bytes, "Bytes in the memory stores of this process");
    describe_counter!("idempotency_redis_lost_total", Unit::Count, "Connections to Redis that were given up");
    describe_counter!("idempotency_redis_connected_total", Unit::Count, "Connections to Redis that were made again");
    describe_counter!("idempotency_redis_restarts_total", Unit::Count, "Redis restarts and failovers");
    describe_counter!("idempotency_redis_evicted_total", Unit::Count, "Records that Redis evicted");
}

/// Registers the metrics that belong to no handler, with the value zero. Those of a handler are registered at its first
/// request.
pub(super) fn begin(namespace: &str, refused_early: impl Iterator<Item = &'static str>) {
    for outcome in refused_early {
        let _ = counter!("idempotency_turned_away_total", "namespace" => namespace.to_owned(), "outcome" => outcome);
    }
    let _ = counter!("idempotency_lost_leases_total");
    let _ = counter!("idempotency_recreated_claims_total");
    let _ = (gauge!("idempotency_memory_records"), gauge!("idempotency_memory_bytes"));
    let _ = gauge!("idempotency_memory_bytes_limit");
    #[cfg(feature = "_sql")]
    {
        let _ = counter!("idempotency_expired_deleted_total");
        let _ = counter!("idempotency_cleanup_failures_total");
    }
    #[cfg(feature = "redis")]
    {
        let _ = counter!("idempotency_redis_lost_total");
        let _ = counter!("idempotency_redis_connected_total");
        let _ = counter!("idempotency_redis_restarts_total");
        let _ = counter!("idempotency_redis_evicted_total");
    }
}
