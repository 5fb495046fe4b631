//! Collects the metrics and logs of some work, without a backend.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, LazyLock, Mutex},
};

use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, Unit};
use tracing::{Event, Level, Subscriber, field::Field, span};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry,
};

use crate::recording::record;

/// The metrics and log lines of one thread.
#[derive(Clone, Default)]
pub struct Observed {
    numbers: Arc<Mutex<BTreeMap<String, i64>>>,
    lines: Arc<Mutex<Vec<String>>>,
    logged: Arc<Mutex<Vec<(Level, String)>>>,
}

impl Observed {
    /// Runs the work on this thread only.
    pub fn during<T>(&self, work: impl Future<Output = T>) -> T {
        metrics::with_local_recorder(self, || record(registry().with(self.clone()), work))
    }

    /// What no test observes on its own thread: what the threads of heartbeats report, of all tests of the program.
    ///
    /// # Panics
    /// If the program has another recorder.
    pub fn elsewhere() -> Self {
        static ELSEWHERE: LazyLock<Observed> = LazyLock::new(|| {
            let observed = Observed::default();
            metrics::set_global_recorder(observed.clone()).expect("the first recorder");
            tracing::subscriber::set_global_default(registry().with(observed.clone())).expect("the first subscriber");
            observed
        });
        ELSEWHERE.clone()
    }

    /// The value of a metric, by its name and labels: `name{label=value,label=value}`, in the order of the code. For a
    /// histogram it is the number of recorded values. Without the label `namespace` it is the sum over the namespaces.
    pub fn number(&self, name: &str) -> i64 {
        self.numbers.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    /// All metrics.
    pub fn numbers(&self) -> BTreeMap<String, i64> {
        self.numbers.lock().unwrap().clone()
    }

    /// All events, and all spans with the fields recorded in them: `name field=value …`.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The events at the default level, `info`, or above.
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.logged.lock().unwrap().clone()
    }

    fn slot(&self, key: &Key) -> Arc<Slot> {
        let shown_as = |is_shown: fn(&str) -> bool| {
            let labels = key.labels().filter(|label| is_shown(label.key()));
            let labels: Vec<_> = labels.map(|label| format!("{}={}", label.key(), label.value())).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            format!("{}{labels}", key.name())
        };
        let names = BTreeSet::from([shown_as(|_| true), shown_as(|label| label != "namespace")]);
        Arc::new(Slot { names, numbers: Arc::clone(&self.numbers) })
    }

    fn line(&self, name: &str, record: impl FnOnce(&mut dyn tracing::field::Visit)) {
        let mut line = Line(name.to_owned());
        record(&mut line);
        self.lines.lock().unwrap().push(line.0);
    }
}

struct Slot {
    names: BTreeSet<String>,
    numbers: Arc<Mutex<BTreeMap<String, i64>>>,
}

impl Slot {
    fn add(&self, value: i64) {
        for name in &self.names {
            *self.numbers.lock().unwrap().entry(name.clone()).or_default() += value;
        }
    }
}

/// The gauges here change by whole numbers.
#[allow(clippy::cast_possible_truncation)]
fn whole(value: f64) -> i64 {
    value.round() as i64
}

impl CounterFn for Slot {
    fn increment(&self, value: u64) {
        self.add(i64::try_from(value).unwrap());
    }
    fn absolute(&self, _: u64) {}
}

impl GaugeFn for Slot {
    fn increment(&self, value: f64) {
        self.add(whole(value));
    }
    fn decrement(&self, value: f64) {
        self.add(-whole(value));
    }
    fn set(&self, value: f64) {
        self.numbers.lock().unwrap().extend(self.names.iter().map(|name| (name.clone(), whole(value))));
    }
}

impl HistogramFn for Slot {
    fn record(&self, _: f64) {
        self.add(1);
    }
}

impl Recorder for Observed {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: metrics::SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.slot(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.slot(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.slot(key))
    }
}

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push_str(&format!(" {}={value}", field.name()));
    }
}

impl<S: Subscriber> Layer<S> for Observed {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        if attributes.metadata().target().starts_with("idempotent") {
            self.line(attributes.metadata().name(), |line| attributes.record(line));
        }
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        self.line("recorded", |line| values.record(line));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("idempotent") {
            self.line("event", |line| event.record(line));
            if *event.metadata().level() <= Level::INFO {
                let mut line = Line(String::new());
                event.record(&mut line);
                self.logged.lock().unwrap().push((*event.metadata().level(), line.0));
            }
        }
    }
}
