//! Runs work on this thread with a subscriber of its own, beside tests on other threads that have none.

use std::sync::LazyLock;

use tracing::{Dispatch, Subscriber, subscriber::with_default};
use tracing_subscriber::registry;

/// While a process has one subscriber only, a span or an event that a thread without it meets first is switched off for all
/// threads. This one is there to the end, so that there are always two.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(registry()));

/// What the work gives back when it is done.
pub(crate) fn record<T>(subscriber: impl Subscriber + Send + Sync + 'static, work: impl Future<Output = T>) -> T {
    LazyLock::force(&ANOTHER);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    with_default(subscriber, || runtime.block_on(work))
}
