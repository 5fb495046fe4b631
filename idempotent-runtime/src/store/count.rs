//! Numbers for the changes of attempts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::protocol::Change;

/// The next number for a change of any attempt of this process. An attempt is in one process, so its own numbers grow.
pub(crate) fn count() -> Change {
    static NEXT: AtomicU64 = AtomicU64::new(Change::COUNTED.number());
    Change::new(NEXT.fetch_add(1, Relaxed))
}
