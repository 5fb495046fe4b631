//! Runs work on this thread with its own subscriber, while tests on other threads have none.

use std::sync::LazyLock;

use tracing::{Dispatch, Subscriber, subscriber::with_default};
use tracing_subscriber::registry;

/// While a process has only one subscriber, a span or an event that is first met on a thread without it is turned off
/// for all threads. This subscriber exists until the end, so that there are always two.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(registry()));

/// Runs the work with the subscriber, and returns its result.
pub(crate) fn record<T>(subscriber: impl Subscriber + Send + Sync + 'static, work: impl Future<Output = T>) -> T {
    LazyLock::force(&ANOTHER);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    with_default(subscriber, || runtime.block_on(work))
}
