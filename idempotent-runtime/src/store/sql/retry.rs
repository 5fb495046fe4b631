//! Repeats a statement with growing pauses, within a time limit.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The first pause. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// For a statement whose row is locked, or whose row appears and disappears between two statements.
pub(super) struct Retry {
    end: Instant,
    pause: Duration,
}

impl Retry {
    pub(super) fn within(limit: Duration) -> Self {
        Self { end: Instant::now() + limit, pause: FIRST_PAUSE }
    }

    /// Waits a moment. Returns whether there is time for another try.
    pub(super) async fn pause(&mut self) -> bool {
        if Instant::now() + self.pause >= self.end {
            return false;
        }
        sleep(self.pause).await;
        self.pause *= 2;
        true
    }
}
