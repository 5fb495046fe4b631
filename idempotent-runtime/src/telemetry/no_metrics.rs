//! The types of `metrics.rs` without the feature `metrics`. They do nothing.

use std::time::Duration;

use super::labels::{AttemptEnd, RequestOutcome, StoreOperation};

pub(crate) struct Metrics;

impl Metrics {
    pub(crate) fn new(_: &str, _: Vec<Option<&'static str>>, _: impl Iterator<Item = &'static str>) -> Self {
        Self
    }

    #[allow(clippy::unused_self)] // as with the feature
    pub(crate) fn load(&self) -> LoadMetrics {
        LoadMetrics {}
    }

    #[allow(clippy::unused_self)] // as with the feature
    pub(crate) fn handler(&self, name: &'static str) -> HandlerMetrics {
        HandlerMetrics(name)
    }
}

#[derive(Clone)]
pub(crate) struct HandlerMetrics(&'static str);

#[allow(clippy::unused_self)] // as with the feature
impl HandlerMetrics {
    pub(crate) fn handler(&self) -> &'static str {
        self.0
    }

    pub(crate) fn requested(&self, _: RequestOutcome) {}

    pub(crate) fn ended(&self, _: AttemptEnd) {}

    pub(crate) fn took_over(&self) {}

    pub(crate) fn too_large(&self) {}

    pub(crate) fn timer(&self) -> Timer {
        Timer
    }

    pub(crate) fn ran_without_key(&self) {}
}

#[derive(Default)]
pub(crate) struct StoreMetrics {}

#[allow(clippy::unused_self)] // as with the feature
impl StoreMetrics {
    pub(crate) const ENABLED: bool = false;

    pub(crate) fn begin(&self, _: StoreOperation) -> MeasuredCall {
        MeasuredCall
    }
}

pub(crate) struct MeasuredCall;

#[allow(clippy::unused_self)] // as with the feature
impl MeasuredCall {
    pub(crate) fn end(self, _: &'static str) {}
}

pub(crate) fn limit(_: &'static str, _: usize) {}

#[derive(Default)]
pub(crate) struct MemoryMetrics {}

#[allow(clippy::unused_self)] // as with the feature
impl MemoryMetrics {
    pub(crate) fn records(&self, _: i64) {}

    pub(crate) fn bytes(&self, _: i64) {}
}

pub(crate) struct GaugeGuard;

pub(crate) struct Timer;

pub(crate) struct LoadMetrics {}

#[allow(clippy::unused_self)] // as with the feature
impl LoadMetrics {
    pub(crate) fn in_flight(&self) -> GaugeGuard {
        GaugeGuard
    }

    pub(crate) fn waiter(&self) -> (GaugeGuard, Timer) {
        (GaugeGuard, Timer)
    }

    pub(crate) fn limits(&self, _: usize, _: Duration) {}
}
