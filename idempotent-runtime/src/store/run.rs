//! Carries out an operation of the protocol on a store.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::SystemTime,
};

use tokio::time::{Instant, timeout_at};

use super::{ClaimRequest, Seen, Store, StoreError, StoreKey, Swapped};
use crate::protocol::{Change, Step};

/// The next number for a change of any attempt of this process. An attempt is in one process, so its own numbers grow.
pub(crate) fn count() -> Change {
    static NEXT: AtomicU64 = AtomicU64::new(Change::COUNTED.number());
    Change::new(NEXT.fetch_add(1, Relaxed))
}

/// An [`Operation`] without its type. Its outcome is taken later.
pub(super) trait Erased: Send {
    fn key(&self) -> &StoreKey;
    fn claims(&self) -> Option<&ClaimRequest>;
    fn begin(&mut self) -> Step<()>;
    fn met(&mut self, seen: Seen, refused: Option<StoreError>) -> Step<()>;
    fn written(&mut self, fence: u64) -> Step<()>;
    fn clock(&mut self, now: SystemTime) -> Step<()>;
}

/// Carries out an operation. If the store ends every call within a limit, the whole operation ends within it.
///
/// Nearly every operation is one call. This future is allocated for each, so what is needed for more calls is in a box of
/// its own.
pub(in crate::store) async fn run<S: Store>(store: &S, operation: &mut dyn Erased) -> Result<(), StoreError> {
    let end = store.answers_within().map(|limit| Instant::now() + limit);
    let mut step = operation.begin();
    if !matches!(step, Step::Answer(_)) {
        // The store itself ends the first call in time, so that needs no timer.
        step = call(store, operation, &step).await?;
    }
    match step {
        Step::Answer(answer) => answer,
        next => Box::pin(go_on(store, operation, next, end)).await,
    }
}

/// All steps after the first one.
async fn go_on<S: Store>(
    store: &S,
    operation: &mut dyn Erased,
    mut step: Step<()>,
    end: Option<Instant>,
) -> Result<(), StoreError> {
    loop {
        step = match step {
            Step::Answer(answer) => return answer,
            step => by(end, call(store, operation, &step)).await?,
        };
    }
}

/// Calls the store as a step says, and returns the next step.
async fn call<S: Store>(store: &S, operation: &mut dyn Erased, step: &Step<()>) -> Result<Step<()>, StoreError> {
    let key = operation.key();
    Ok(match step {
        Step::Read => {
            let seen = store.read(key).await?;
            operation.met(seen, None)
        }
        Step::Clock => operation.clock(store.now().await?),
        Step::Swap(expect, put) => match store.swap(key, expect, put).await? {
            Swapped::Done { fence } => operation.written(fence),
            Swapped::Found(seen) => operation.met(seen, None),
            Swapped::Refused(seen, error) => operation.met(seen, Some(error)),
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
