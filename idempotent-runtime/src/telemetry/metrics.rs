//! The metrics, by the `metrics` facade. Each is looked up by its name once, and not for every request. Without the
//! feature `metrics` this does nothing.

use super::AttemptEnd;

/// How a request with a key was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    Ran,
    Recovered,
    Unprotected,
    Replayed,
    /// A problem, by its number in the list of problems.
    Problem(usize),
}

const OUTCOMES: [&str; 4] = ["ran", "recovered", "unprotected", "replayed"];

impl RequestOutcome {
    pub(crate) fn label(self) -> &'static str {
        OUTCOMES.get(self.index()).copied().unwrap_or("problem")
    }

    fn index(self) -> usize {
        match self {
            Self::Ran => 0,
            Self::Recovered => 1,
            Self::Unprotected => 2,
            Self::Replayed => 3,
            Self::Problem(number) => OUTCOMES.len() + number,
        }
    }
}

/// A call to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreOperation {
    Claim,
    Renew,
    Complete,
    Replace,
    SaveSteps,
    Release,
    Abandon,
    Lookup,
    Forget,
    Now,
}

#[cfg(feature = "metrics")]
pub(crate) use enabled::{GaugeGuard, HandlerMetrics, LoadMetrics, MemoryMetrics, Metrics, StoreMetrics};

#[cfg(not(feature = "metrics"))]
pub(crate) use disabled::{GaugeGuard, HandlerMetrics, LoadMetrics, MemoryMetrics, Metrics, StoreMetrics};

#[cfg(feature = "metrics")]
mod enabled {
    use std::{
        collections::HashMap,
        sync::{Arc, OnceLock, PoisonError, RwLock},
        time::Instant,
    };

    use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

    use super::{super::described, AttemptEnd, OUTCOMES, RequestOutcome, StoreOperation};

    /// The handlers' numbers of one engine.
    pub(crate) struct Metrics {
        /// By its number: a problem that may be the answer of a handler.
        problems: Vec<Option<&'static str>>,
        /// By the address of the handler's name, which is a constant.
        handlers: RwLock<HashMap<usize, HandlerMetrics>>,
    }

    impl Metrics {
        /// `problems` by their numbers, `None` for those that no handler answers with; `turned_away` for those that are the
        /// answer before the handler is known.
        pub(crate) fn new(
            problems: Vec<Option<&'static str>>,
            turned_away: impl Iterator<Item = &'static str>,
        ) -> Self {
            described::describe();
            described::begin(turned_away);
            Self { problems, handlers: RwLock::default() }
        }

        pub(crate) fn handler(&self, name: &'static str) -> HandlerMetrics {
            let address = name.as_ptr().addr();
            let known = self.handlers.read().unwrap_or_else(PoisonError::into_inner).get(&address).cloned();
            known.unwrap_or_else(|| {
                let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
                handlers.entry(address).or_insert_with(|| HandlerMetrics::new(name, &self.problems)).clone()
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
    }

    impl HandlerMetrics {
        fn new(handler: &'static str, problems: &[Option<&'static str>]) -> Self {
            let outcomes = OUTCOMES.into_iter().map(Some).chain(problems.iter().copied());
            let requests = outcomes.map(|outcome| match outcome {
                Some(outcome) => counter!("idempotency_requests_total", "handler" => handler, "outcome" => outcome),
                None => Counter::noop(),
            });
            let attempts = AttemptEnd::ALL
                .iter()
                .map(|end| counter!("idempotency_attempts_total", "handler" => handler, "end" => end.label()));
            Self(Arc::new(Handles {
                handler,
                requests: requests.collect(),
                attempts: attempts.collect(),
                takeovers: counter!("idempotency_takeovers_total", "handler" => handler),
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
    }

    const CALLS: [&str; 10] =
        ["claim", "renew", "complete", "replace", "save_steps", "release", "abandon", "lookup", "forget", "now"];
    const RESULTS: [&str; 8] = ["ok", "timeout", "unreachable", "down", "forbidden", "full", "refused", "dropped"];
    const DROPPED: usize = RESULTS.len() - 1;

    /// The durations of the calls to one store, by call and result.
    #[derive(Default)]
    pub(crate) struct StoreMetrics([[OnceLock<Histogram>; RESULTS.len()]; CALLS.len()]);

    impl StoreMetrics {
        pub(crate) const ENABLED: bool = true;

        pub(crate) fn begin(&self, call: StoreOperation) -> MeasuredCall<'_> {
            MeasuredCall { metrics: self, call: call as usize, result: DROPPED, since: Instant::now() }
        }
    }

    /// A call that is under way. If its caller gives it up, it is counted too, because these are the slow ones.
    pub(crate) struct MeasuredCall<'a> {
        metrics: &'a StoreMetrics,
        call: usize,
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
            let handle = self.metrics.0.get(self.call).and_then(|results| results.get(self.result));
            let labels = CALLS.get(self.call).zip(RESULTS.get(self.result));
            if let (Some(handle), Some((&call, &result))) = (handle, labels) {
                let histogram = || histogram!("idempotency_store_seconds", "call" => call, "result" => result);
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

    impl MemoryMetrics {
        #[allow(clippy::cast_precision_loss)] // of numbers beyond 2^52
        pub(crate) fn records(&self, more: i64) {
            self.records.increment(more as f64);
        }

        #[allow(clippy::cast_precision_loss)] // of numbers beyond 2^52
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

    /// The gauges of the work in flight in one engine.
    #[derive(Clone)]
    pub(crate) struct LoadMetrics {
        in_flight: Gauge,
        waiters: Gauge,
    }

    impl Default for LoadMetrics {
        fn default() -> Self {
            Self { in_flight: gauge!("idempotency_in_flight"), waiters: gauge!("idempotency_waiters") }
        }
    }

    impl LoadMetrics {
        /// A request with a key is in flight.
        pub(crate) fn in_flight(&self) -> GaugeGuard {
            GaugeGuard::new(self.in_flight.clone())
        }

        /// A duplicate waits for the first attempt.
        pub(crate) fn waiter(&self) -> GaugeGuard {
            GaugeGuard::new(self.waiters.clone())
        }
    }

    impl Drop for GaugeGuard {
        fn drop(&mut self) {
            self.0.decrement(1.0);
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod disabled {
    use super::{AttemptEnd, RequestOutcome, StoreOperation};

    pub(crate) struct Metrics;

    impl Metrics {
        pub(crate) fn new(_: Vec<Option<&'static str>>, _: impl Iterator<Item = &'static str>) -> Self {
            Self
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

    #[derive(Default)]
    pub(crate) struct MemoryMetrics {}

    #[allow(clippy::unused_self)] // as with the feature
    impl MemoryMetrics {
        pub(crate) fn records(&self, _: i64) {}

        pub(crate) fn bytes(&self, _: i64) {}
    }

    pub(crate) struct GaugeGuard;

    #[derive(Clone, Default)]
    pub(crate) struct LoadMetrics {}

    #[allow(clippy::unused_self)] // as with the feature
    impl LoadMetrics {
        pub(crate) fn in_flight(&self) -> GaugeGuard {
            GaugeGuard
        }

        pub(crate) fn waiter(&self) -> GaugeGuard {
            GaugeGuard
        }
    }
}
