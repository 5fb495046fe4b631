//! Carries out an operation of the protocol on a store.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::time::{Instant, timeout_at};

use super::{Store, StoreError, Swapped};
use crate::protocol::{Change, Operation, Step};

/// The next number for a change of any attempt of this process. An attempt is in one process, so its own numbers grow.
pub(crate) fn count() -> Change {
    static NEXT: AtomicU64 = AtomicU64::new(Change::COUNTED.number());
    Change::new(NEXT.fetch_add(1, Relaxed))
}

/// Carries out an operation. If the store ends every call within a limit, the whole operation ends within it.
///
/// Nearly every operation is one call. This future is allocated for each, so what is needed for more calls is in a box of
/// its own.
pub(super) async fn run<S: Store, O: Operation>(store: &S, mut operation: O) -> Result<O::Outcome, StoreError> {
    let end = store.answers_within().map(|limit| Instant::now() + limit);
    let first = operation.begin(count);
    // The store itself ends the first call in time, so that needs no timer.
    match call(store, &mut operation, &first).await? {
        Step::Answer(answer) => answer,
        next => Box::pin(go_on(store, operation, next, end)).await,
    }
}

/// All steps after the first one.
async fn go_on<S: Store, O: Operation>(
    store: &S,
    mut operation: O,
    mut step: Step<O::Outcome>,
    end: Option<Instant>,
) -> Result<O::Outcome, StoreError> {
    loop {
        step = match step {
            Step::Answer(answer) => return answer,
            step => by(end, call(store, &mut operation, &step)).await?,
        };
    }
}

/// Calls the store as a step says, and returns the next step.
async fn call<S: Store, O: Operation>(
    store: &S,
    operation: &mut O,
    step: &Step<O::Outcome>,
) -> Result<Step<O::Outcome>, StoreError> {
    let key = operation.key();
    Ok(match step {
        Step::Read => operation.met(store.read(key).await?, None, count),
        Step::Clock => operation.clock(store.now().await?, count),
        Step::Swap(expect, put) => match store.swap(key, expect, put).await? {
            Swapped::Done { fence } => operation.written(fence),
            Swapped::Found(seen) => operation.met(seen, None, count),
            Swapped::Refused(seen, error) => operation.met(seen, Some(error), count),
            Swapped::Late => return Err(StoreError::Timeout),
        },
        // An operation that is answered calls nothing.
        Step::Answer(_) => return Err(StoreError::Timeout),
    })
}

/// A call that ends by this moment.
async fn by<T>(end: Option<Instant>, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match end {
        Some(end) => timeout_at(end, call).await.unwrap_or(Err(StoreError::Timeout)),
        None => call.await,
    }
}
