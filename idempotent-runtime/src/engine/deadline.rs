//! Every call to a store has a deadline; what may be repeated is repeated within it.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use crate::store::{StoreCall, StoreError};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One call, given up at the deadline.
///
/// A call that is answered at once, or at its first poll, needs no timer. Making one costs more than a look into memory.
pub(crate) async fn once<T>(limit: Duration, call: StoreCall<'_, T>) -> Result<T, StoreError> {
    match call {
        StoreCall::Ready(answer) => answer,
        StoreCall::Pending(call) => within(limit, call).await,
    }
}

async fn within<T>(
    limit: Duration,
    mut call: Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + '_>>,
) -> Result<T, StoreError> {
    match poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
        Poll::Ready(answer) => answer,
        Poll::Pending => timeout(limit, call).await.unwrap_or(Err(StoreError::Timeout)),
    }
}

/// When to stop repeating a call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A client waits for the answer: not when the store is known to be down, which another task finds out about anyway.
    WhileSent,
    /// Nobody waits: for as long as there is time. A full store does not get emptier by asking.
    UntilTheEnd,
}

impl Patience {
    fn is_over(self, error: &StoreError) -> bool {
        match error {
            StoreError::Full(_) => true,
            StoreError::Down(_) | StoreError::Forbidden(_) => self == Self::WhileSent,
            _ => false,
        }
    }
}

/// The same call again and again for as long as `limit`, each try with a deadline of its own; the last error then.
///
/// Only for calls that carry a token: to the store a repeat is the same claim, or the same completion. The error is
/// [`StoreError::Down`] only if no try was sent at all.
pub(crate) async fn repeated<'a, T, F>(
    limit: Duration,
    each: Duration,
    patience: Patience,
    mut call: F,
) -> Result<T, StoreError>
where
    F: FnMut() -> StoreCall<'a, T>,
{
    let first = match call() {
        StoreCall::Ready(answer) => return answer,
        StoreCall::Pending(first) => first,
    };
    let started = Instant::now();
    match within(each.min(limit), first).await {
        Err(error) if !patience.is_over(&error) => Box::pin(again(started + limit, each, patience, error, call)).await,
        answer => answer,
    }
}

/// All tries after the first one, which failed. A future of its own, since it is rarely needed and large.
async fn again<'a, T, F>(
    deadline: Instant,
    each: Duration,
    patience: Patience,
    mut error: StoreError,
    mut call: F,
) -> Result<T, StoreError>
where
    F: FnMut() -> StoreCall<'a, T>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        if Instant::now() + pause >= deadline {
            return Err(error);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        match once(each.min(deadline - Instant::now()), call()).await {
            Ok(answer) => return Ok(answer),
            Err(StoreError::Down(_)) if patience == Patience::WhileSent => return Err(error),
            Err(failed) if patience.is_over(&failed) => return Err(failed),
            Err(failed) => error = failed,
        }
    }
}
