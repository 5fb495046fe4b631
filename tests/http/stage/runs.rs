//! What handlers tell the test, and the gates at which the test holds them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use tokio::sync::watch;

use super::soon;

/// Executions of a test's handlers, numbered from 1.
#[derive(Clone, Default)]
pub(crate) struct Runs(Arc<Inner>);

#[derive(Default)]
struct Inner {
    begun: watch::Sender<usize>,
    ended: watch::Sender<usize>,
    open: watch::Sender<BTreeSet<usize>>,
    notes: Mutex<Vec<String>>,
}

impl Runs {
    /// Counts an execution and returns its number.
    pub(crate) fn begin(&self) -> usize {
        let mut number = 0;
        self.0.begun.send_modify(|begun| {
            *begun += 1;
            number = *begun;
        });
        number
    }

    /// Counts an execution and holds it until the test opens its gate.
    pub(crate) async fn begin_and_hold(&self) -> usize {
        let number = self.begin();
        self.hold(number).await;
        number
    }

    /// Holds an execution that is already counted. The wait has a limit, so that a failed test ends.
    pub(crate) async fn hold(&self, number: usize) {
        let mut open = self.0.open.subscribe();
        let _ = soon("the test to open the gate", open.wait_for(|open| open.contains(&number))).await;
    }

    pub(crate) fn end(&self) {
        self.0.ended.send_modify(|ended| *ended += 1);
    }

    /// Lets an execution pass, now or when it comes.
    pub(crate) fn open(&self, number: usize) {
        self.0.open.send_modify(|open| {
            open.insert(number);
        });
    }

    pub(crate) fn count(&self) -> usize {
        *self.0.begun.borrow()
    }

    /// How many executions have called [`end`](Self::end).
    pub(crate) fn finished(&self) -> usize {
        *self.0.ended.borrow()
    }

    /// Waits until so many executions have begun.
    pub(crate) async fn begun(&self, number: usize) {
        let mut begun = self.0.begun.subscribe();
        soon("the handler to begin", begun.wait_for(|begun| *begun >= number)).await.unwrap();
    }

    /// Waits until so many executions have called [`end`](Self::end).
    pub(crate) async fn ended(&self, number: usize) {
        let mut ended = self.0.ended.subscribe();
        soon("the handler to end", ended.wait_for(|ended| *ended >= number)).await.unwrap();
    }

    /// Keeps what a handler saw.
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.notes.lock().unwrap().push(what.into());
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.0.notes.lock().unwrap().clone()
    }
}
