//! The routes for operators, on a separate port that clients cannot reach: `/metrics` for Prometheus, and the admin router
//! at `/idempotency`.

use std::time::Duration;

use axum::{Router, http::Method, routing::get};
use idempotent_runtime::{AdminRouter, Idempotency, STORE_SECONDS_BUCKETS};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Installs the exporter. Metrics start at zero when an `Idempotency` is built, so call this before.
pub(crate) fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let histograms = Matcher::Prefix("idempotency_".to_owned());
    let metrics =
        PrometheusBuilder::new().set_buckets_for_metric(histograms, &STORE_SECONDS_BUCKETS)?.install_recorder()?;
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        // This puts new measurements into their buckets. Without it they stay in memory until the next scrape.
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(metrics)
}

/// The routes. A real service asks operators to log in first.
pub(crate) fn routes(metrics: PrometheusHandle, idempotency: &Idempotency) -> Router {
    let admin = AdminRouter::new(idempotency.clone())
        .handler(Method::POST, "/payments")
        .handler(Method::POST, "/payments/{id}/refund")
        .handler(Method::POST, "/withdrawals")
        .handler(Method::POST, "/charges");
    Router::new()
        .nest("/idempotency", admin.into_router())
        .route("/metrics", get(move || std::future::ready(metrics.render())))
}
