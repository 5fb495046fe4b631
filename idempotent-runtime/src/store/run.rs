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
pub(super) async fn run<S: Store, O: Operation>(store: &S, mut operation: O) -> Result<O::Outcome, StoreError> {
    let end = store.answers_within().map(|limit| Instant::now() + limit);
    // The store itself ends the first call in time, so that needs no timer.
    let mut timer = None;
    let mut step = operation.begin(count);
    loop {
        let key = operation.key();
        step = match step {
            Step::Answer(answer) => return answer,
            Step::Read => {
                let seen = by(timer, store.read(key)).await?;
                operation.met(seen, None, count)
            }
            Step::Clock => {
                let now = by(timer, store.now()).await?;
                operation.clock(now, count)
            }
            Step::Swap(expect, put) => match by(timer, store.swap(key, &expect, &put)).await? {
                Swapped::Done { fence } => operation.written(fence),
                Swapped::Found(seen) => operation.met(seen, None, count),
                Swapped::Refused(seen, error) => operation.met(seen, Some(error), count),
                Swapped::Late => return Err(StoreError::Timeout),
            },
        };
        timer = end;
    }
}

/// A call that ends by this moment.
async fn by<T>(end: Option<Instant>, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match end {
        Some(end) => timeout_at(end, call).await.unwrap_or(Err(StoreError::Timeout)),
        None => call.await,
    }
}
