//! Effects outside of HTTP: operations on a store, in the caller's transaction, and as a broker's consumers use them.

mod callers;
mod commit;
mod deaths;
mod outcomes;
mod requests;
mod settings;
mod values;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use idempotent_runtime::{Idempotency, MemoryStore, Operation, Outcome, RunError};

/// A service over a memory store, and how often its effect has run.
#[derive(Clone)]
struct Service {
    idempotency: Idempotency,
    runs: Arc<AtomicUsize>,
}

impl Service {
    fn new() -> Self {
        Self::over(Idempotency::new(MemoryStore::new()))
    }

    fn over(idempotency: Idempotency) -> Self {
        Self { idempotency, runs: Arc::default() }
    }

    fn operation(&self, key: &str) -> Operation<'_> {
        self.idempotency.operation("orders.created").key(key)
    }

    /// Runs an effect that counts its runs and returns the count.
    async fn count(&self, operation: Operation<'_>) -> Result<Outcome<usize>, RunError<Infallible>> {
        let runs = Arc::clone(&self.runs);
        operation.run(async move |_| Ok(runs.fetch_add(1, SeqCst) + 1)).await
    }

    fn runs(&self) -> usize {
        self.runs.load(SeqCst)
    }
}
