//! Every call to a store has a deadline; what may be repeated is repeated within it.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::store::StoreError;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One call, given up at the deadline.
pub(crate) async fn once<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(limit, call).await.unwrap_or(Err(StoreError::Timeout))
}

/// The same call again and again for as long as `limit`, each try with a deadline of its own; the last error then.
///
/// Only for calls that carry a token: to the store a repeat is the same claim, or the same completion. A full store
/// is an answer, and does not get emptier by asking.
pub(crate) async fn repeated<T, F>(
    limit: Duration,
    each: Duration,
    mut call: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match once(each.min(deadline - Instant::now()), call()).await {
            Ok(answer) => return Ok(answer),
            Err(full @ StoreError::Full(_)) => return Err(full),
            Err(error) => error,
        };
        if Instant::now() + pause >= deadline {
            return Err(error);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// As [`repeated`], for a request that waits for the answer: gives up at once when the store is known to be down or does not
/// allow the call. The error is [`StoreError::Down`] only if no try was sent at all.
pub(crate) async fn repeated_unless_down<T, F>(limit: Duration, mut call: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    let mut sent = None;
    loop {
        let error = match once(deadline - Instant::now(), call()).await {
            Ok(answer) => return Ok(answer),
            Err(down @ StoreError::Down(_)) => return Err(sent.unwrap_or(down)),
            Err(fixed @ (StoreError::Full(_) | StoreError::Forbidden(_))) => return Err(fixed),
            Err(error) => error,
        };
        if Instant::now() + pause >= deadline {
            return Err(error);
        }
        sent = Some(error);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
