//! The calls that the engine makes to a store. Each gets a deadline, and one that may be repeated is repeated within it.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::StoreError;
use crate::backoff::Backoff;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A future behind a pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A call that was answered at once, or one to be awaited.
pub(crate) enum StoreCall<'a, T> {
    /// The store is in this process and has answered already.
    Ready(Result<T, StoreError>),
    Pending {
        call: BoxFuture<'a, Result<T, StoreError>>,
        /// [`Store::answers_within`](super::Store::answers_within) of the store.
        answers_within: Option<Duration>,
    },
}

impl<'a, T> StoreCall<'a, T> {
    pub(crate) fn pending(
        call: impl Future<Output = Result<T, StoreError>> + Send + 'a,
        answers_within: Option<Duration>,
    ) -> Self {
        Self::Pending { call: Box::pin(call), answers_within }
    }
}

/// One call. When the limit is over, it fails with [`StoreError::Timeout`].
///
/// A call that is answered at its first poll needs no timer. Creating a timer costs more than a look-up in memory.
pub(crate) async fn once<T>(limit: Duration, call: StoreCall<'_, T>) -> Result<T, StoreError> {
    match call {
        StoreCall::Ready(answer) => answer,
        StoreCall::Pending { call, answers_within } => within(limit, call, answers_within).await,
    }
}

/// `answers_within`: when the store itself ends the call. A second timer for the same call would be wasted.
async fn within<T>(
    limit: Duration,
    mut call: BoxFuture<'_, Result<T, StoreError>>,
    answers_within: Option<Duration>,
) -> Result<T, StoreError> {
    if answers_within.is_some_and(|own| own <= limit) {
        return call.await;
    }
    match poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
        Poll::Ready(answer) => answer,
        // Boxed, because a timer is large and most stores need none.
        Poll::Pending => Box::pin(timeout(limit, call)).await.unwrap_or(Err(StoreError::Timeout)),
    }
}

/// Until when a call that fails is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryUntil {
    /// A client waits for the answer. Stop when the store is known to be down or full: it finds out by itself when it is
    /// up again, and the client is told when to retry.
    ClientGivesUp,
    /// No client waits. Repeat for as long as there is time.
    TimeIsOver,
}

impl RetryUntil {
    fn is_over(self, error: &StoreError) -> bool {
        let final_for_now = matches!(error, StoreError::Full(_) | StoreError::Down(_) | StoreError::Forbidden(_));
        self == Self::ClientGivesUp && final_for_now
    }
}

/// Repeats a call until it succeeds or `limit` is over. Each try has its own deadline, `each`. Returns the last
/// error.
///
/// Only for calls that carry a token: the store recognises a repeat as the same claim or the same completion. The error
/// is [`StoreError::Down`] only if no try was sent to the store at all, and [`StoreError::Full`] only if none that was sent
/// may still take effect.
pub(crate) async fn repeated<'a, T, F>(
    limit: Duration,
    each: Duration,
    until: RetryUntil,
    mut call: F,
) -> Result<T, StoreError>
where
    F: FnMut() -> StoreCall<'a, T>,
{
    let (first, answers_within) = match call() {
        StoreCall::Ready(answer) if until == RetryUntil::ClientGivesUp => return answer,
        StoreCall::Ready(Ok(answer)) => return Ok(answer),
        StoreCall::Ready(Err(error)) => return Box::pin(again(Instant::now() + limit, each, until, error, call)).await,
        StoreCall::Pending { call, answers_within } => (call, answers_within),
    };
    let started = Instant::now();
    match within(each.min(limit), first, answers_within).await {
        Err(error) if !until.is_over(&error) => Box::pin(again(started + limit, each, until, error, call)).await,
        answer => answer,
    }
}

/// The pauses between the tries of a call to a store.
pub(crate) fn pauses(end: Instant) -> Backoff {
    Backoff::new(FIRST_PAUSE, LONGEST_PAUSE).until(end)
}

/// All tries after a failed first one. It is a separate future, because it is large and rarely needed.
async fn again<'a, T, F>(
    end: Instant,
    each: Duration,
    until: RetryUntil,
    mut error: StoreError,
    mut call: F,
) -> Result<T, StoreError>
where
    F: FnMut() -> StoreCall<'a, T>,
{
    let mut backoff = pauses(end);
    while backoff.pause().await {
        match once(each.min(end - Instant::now()), call()).await {
            Ok(answer) => return Ok(answer),
            Err(StoreError::Down(_) | StoreError::Full(_)) if until == RetryUntil::ClientGivesUp => return Err(error),
            Err(failed) if until.is_over(&failed) => return Err(failed),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(500);

    /// Asks a store that answers after `takes`.
    async fn ask(takes: Duration, answers_within: Option<Duration>) -> Result<(), StoreError> {
        let call = async move {
            sleep(takes).await;
            Ok(())
        };
        once(LIMIT, StoreCall::pending(call, answers_within)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_the_limit_unless_the_store_ends_it_sooner() {
        for answers_within in [None, Some(2 * LIMIT)] {
            assert!(matches!(ask(3 * LIMIT, answers_within).await, Err(StoreError::Timeout)), "{answers_within:?}");
            assert!(ask(LIMIT / 2, answers_within).await.is_ok(), "{answers_within:?}");
        }
        // The store's own timer is relied on.
        assert!(ask(3 * LIMIT, Some(LIMIT)).await.is_ok());
    }
}
