//! Collects the spans that some work opens.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use tracing::{Event, Metadata, Subscriber, span};

use crate::recording::record;

/// A span's name, and the fields with which it was opened.
pub type Span = (String, Vec<String>);

#[derive(Clone, Default)]
struct Recorder {
    spans: Arc<Mutex<Vec<Span>>>,
    last: Arc<AtomicU64>,
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut fields = Vec::new();
        attributes.record(&mut |field: &tracing::field::Field, _: &dyn std::fmt::Debug| {
            fields.push(field.name().to_owned());
        });
        self.spans.lock().unwrap().push((attributes.metadata().name().to_owned(), fields));
        span::Id::from_u64(self.last.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Runs the work on this thread and returns the spans that it opened, in order.
pub fn recorded<T>(work: impl Future<Output = T>) -> Vec<Span> {
    let recorder = Recorder::default();
    record(recorder.clone(), work);
    let spans = recorder.spans.lock().unwrap();
    spans.clone()
}
