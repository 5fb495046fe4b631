//! The metrics, by the `metrics` facade. Each is looked up by its name once, and not for every request.

#![allow(clippy::cast_precision_loss)] // of numbers beyond 2^52

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

use super::{
    described,
    labels::{AttemptEnd, CALLS, OUTCOMES, RequestOutcome, StoreOperation},
};

/// The handlers' metrics of one engine.
pub(crate) struct Metrics {
    namespace: Arc<str>,
    /// By its number: a problem that may be the answer of a handler.
    problems: Vec<Option<&'static str>>,
    /// By the address of the handler's name, which is a constant.
    handlers: RwLock<HashMap<usize, HandlerMetrics>>,
}

impl Metrics {
    /// `problems` by their numbers, `None` for those that no handler answers with; `refused_early` for those that are the
    /// answer before the handler is known.
    pub(crate) fn new(
        namespace: &str,
        problems: Vec<Option<&'static str>>,
        refused_early: impl Iterator<Item = &'static str>,
    ) -> Self {
        described::describe();
        described::begin(namespace, refused_early);
        Self { namespace: namespace.into(), problems, handlers: RwLock::default() }
    }

    pub(crate) fn load(&self) -> LoadMetrics {
        let namespace = || Arc::clone(&self.namespace);
        LoadMetrics {
            namespace: namespace(),
            in_flight: gauge!("idempotency_in_flight", "namespace" => namespace()),
            waiters: gauge!("idempotency_waiters", "namespace" => namespace()),
            wait_seconds: histogram!("idempotency_wait_seconds", "namespace" => namespace()),
        }
    }

    pub(crate) fn handler(&self, name: &'static str) -> HandlerMetrics {
        let address = name.as_ptr().addr();
        let known = self.handlers.read().unwrap_or_else(PoisonError::into_inner).get(&address).cloned();
        known.unwrap_or_else(|| {
            let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
            handlers
                .entry(address)
                .or_insert_with(|| HandlerMetrics::new(name, &self.namespace, &self.problems))
                .clone()
        })
    }
}

/// The metrics of one handler. All of them are registered at its first request, so that a rate includes the first
/// event.
#[derive(Clone)]
pub(crate) struct HandlerMetrics(Arc<Handles>);

struct Handles {
    handler: &'static str,
    requests: Vec<Counter>,
    attempts: Vec<Counter>,
    takeovers: Counter,
    unkeyed: Counter,
    too_large: Counter,
    seconds: Histogram,
}

impl HandlerMetrics {
    fn new(handler: &'static str, namespace: &Arc<str>, problems: &[Option<&'static str>]) -> Self {
        let labels = [Label::from_static_parts("handler", handler), Label::new("namespace", Arc::clone(namespace))];
        let with = |name: &'static str, value: &'static str| {
            let mut labels = labels.to_vec();
            labels.push(Label::from_static_parts(name, value));
            labels
        };
        let outcomes = OUTCOMES.into_iter().map(Some).chain(problems.iter().copied());
        let requests = outcomes.map(|outcome| match outcome {
            Some(outcome) => counter!("idempotency_requests_total", with("outcome", outcome)),
            None => Counter::noop(),
        });
        let attempts =
            AttemptEnd::ALL.iter().map(|end| counter!("idempotency_attempts_total", with("end", end.label())));
        Self(Arc::new(Handles {
            handler,
            requests: requests.collect(),
            attempts: attempts.collect(),
            takeovers: counter!("idempotency_takeovers_total", labels.iter()),
            unkeyed: counter!("idempotency_unkeyed_total", labels.iter()),
            too_large: counter!("idempotency_responses_too_large_total", labels.iter()),
            seconds: histogram!("idempotency_handler_seconds", labels.iter()),
        }))
    }

    pub(crate) fn handler(&self) -> &'static str {
        self.0.handler
    }

    pub(crate) fn requested(&self, outcome: RequestOutcome) {
        if let Some(counter) = self.0.requests.get(outcome.index()) {
            counter.increment(1);
        }
    }

    pub(crate) fn ended(&self, end: AttemptEnd) {
        if let Some(counter) = self.0.attempts.get(end as usize) {
            counter.increment(1);
        }
    }

    pub(crate) fn took_over(&self) {
        self.0.takeovers.increment(1);
    }

    pub(crate) fn too_large(&self) {
        self.0.too_large.increment(1);
    }

    /// Measures a run of the handler, until the timer is dropped.
    pub(crate) fn timer(&self) -> Timer {
        Timer { since: Instant::now(), histogram: self.0.seconds.clone() }
    }

    pub(crate) fn ran_without_key(&self) {
        self.0.unkeyed.increment(1);
    }
}

const RESULTS: [&str; 8] = ["ok", "timeout", "unreachable", "down", "forbidden", "full", "refused", "dropped"];
const DROPPED: usize = RESULTS.len() - 1;

/// The durations of the calls to one store, by call and result.
#[derive(Default)]
pub(crate) struct StoreMetrics([[OnceLock<Histogram>; RESULTS.len()]; CALLS.len()]);

impl StoreMetrics {
    pub(crate) fn begin(&self, call: StoreOperation) -> MeasuredCall<'_> {
        MeasuredCall { metrics: self, call, result: DROPPED, since: Instant::now() }
    }
}

/// A call that is under way. If its caller gives it up, it is counted too, because these are the slow ones.
pub(crate) struct MeasuredCall<'a> {
    metrics: &'a StoreMetrics,
    call: StoreOperation,
    result: usize,
    since: Instant,
}

impl MeasuredCall<'_> {
    pub(crate) fn end(mut self, result: &'static str) {
        self.result = RESULTS.iter().position(|&known| known == result).unwrap_or(DROPPED);
    }
}

impl Drop for MeasuredCall<'_> {
    fn drop(&mut self) {
        let handle = self.metrics.0.get(self.call as usize).and_then(|results| results.get(self.result));
        if let (Some(handle), Some(&result)) = (handle, RESULTS.get(self.result)) {
            let call = self.call.label();
            let histogram = || histogram!("idempotency_store_seconds", "operation" => call, "result" => result);
            handle.get_or_init(histogram).record(self.since.elapsed());
        }
    }
}

/// How full the memory stores of this process are.
pub(crate) struct MemoryMetrics {
    records: Gauge,
    bytes: Gauge,
}

impl Default for MemoryMetrics {
    fn default() -> Self {
        Self { records: gauge!("idempotency_memory_records"), bytes: gauge!("idempotency_memory_bytes") }
    }
}

/// Reports a limit of this process, for rules that compare with it.
pub(crate) fn limit(name: &'static str, limit: usize) {
    gauge!(name).set(limit as f64);
}

impl MemoryMetrics {
    pub(crate) fn records(&self, more: i64) {
        self.records.increment(more as f64);
    }

    pub(crate) fn bytes(&self, more: i64) {
        self.bytes.increment(more as f64);
    }
}

/// Adds one to a gauge until it is dropped.
pub(crate) struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Records how long something took, when it is dropped.
pub(crate) struct Timer {
    since: Instant,
    histogram: Histogram,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.histogram.record(self.since.elapsed());
    }
}

/// The metrics of the work in flight in one engine.
pub(crate) struct LoadMetrics {
    namespace: Arc<str>,
    in_flight: Gauge,
    waiters: Gauge,
    wait_seconds: Histogram,
}

impl LoadMetrics {
    /// Reports the limits of this engine, for rules that compare with them.
    pub(crate) fn limits(&self, in_flight: usize, store_timeout: Duration) {
        let namespace = || Arc::clone(&self.namespace);
        gauge!("idempotency_in_flight_limit", "namespace" => namespace()).set(in_flight as f64);
        gauge!("idempotency_store_timeout_seconds", "namespace" => namespace()).set(store_timeout);
    }

    /// A request with a key is in flight.
    pub(crate) fn in_flight(&self) -> GaugeGuard {
        GaugeGuard::new(self.in_flight.clone())
    }

    /// A duplicate waits for the first attempt.
    pub(crate) fn waiter(&self) -> (GaugeGuard, Timer) {
        let timer = Timer { since: Instant::now(), histogram: self.wait_seconds.clone() };
        (GaugeGuard::new(self.waiters.clone()), timer)
    }
}
