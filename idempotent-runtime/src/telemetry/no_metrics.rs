//! Stands for `metrics.rs` without the feature `metrics`: the same methods, which do nothing.

#![allow(clippy::unused_self)] // as with the feature

use std::time::Duration;

use super::labels::{AttemptEnd, RequestOutcome, StoreOperation};

#[derive(Clone)]
pub(crate) struct HandlerMetrics(&'static str);

impl HandlerMetrics {
    pub(crate) fn handler(&self) -> &'static str {
        self.0
    }

    pub(crate) fn requested(&self, _: RequestOutcome) {}

    pub(crate) fn ended(&self, _: AttemptEnd) {}

    pub(crate) fn took_over(&self) {}

    pub(crate) fn too_large(&self) {}

    pub(crate) fn timer(&self) -> Timer {
        Nothing {}
    }

    pub(crate) fn ran_without_key(&self) {}
}

/// All other types.
#[derive(Default)]
pub(crate) struct Nothing {}

pub(crate) use self::{
    Nothing as GaugeGuard, Nothing as LoadMetrics, Nothing as MemoryMetrics, Nothing as Metrics,
    Nothing as StoreMetrics, Nothing as Timer,
};

impl Nothing {
    pub(crate) fn new(_: &str, _: Vec<Option<&'static str>>, _: impl Iterator<Item = &'static str>) -> Self {
        Self {}
    }

    pub(crate) fn load(&self) -> LoadMetrics {
        Self {}
    }

    pub(crate) fn handler(&self, name: &'static str) -> HandlerMetrics {
        HandlerMetrics(name)
    }

    pub(crate) fn begin(&self, _: StoreOperation) -> Self {
        Self {}
    }

    pub(crate) fn end(self, _: &'static str) {}

    pub(crate) fn records(&self, _: i64) {}

    pub(crate) fn bytes(&self, _: i64) {}

    pub(crate) fn in_flight(&self) -> GaugeGuard {
        Self {}
    }

    pub(crate) fn waiter(&self) -> (GaugeGuard, Timer) {
        (Self {}, Self {})
    }

    pub(crate) fn limits(&self, _: usize, _: Duration) {}
}

pub(crate) fn limit(_: &'static str, _: usize) {}
