//! Growing pauses between the tries of something that failed.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::clock;

/// The pauses of one thing that is tried again and again.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
    longest: Duration,
    end: Option<Instant>,
}

impl Backoff {
    /// Pauses that double from `first` to `longest`. Each is up to a quarter shorter, so that several processes do not
    /// try at the same moments. By a test's clock, which is to give the same each time, they are not shorter.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { pause: first, longest, end: None }
    }

    /// Ends the tries at this moment.
    pub(crate) fn until(self, end: Instant) -> Self {
        Self { end: Some(end), ..self }
    }

    /// Waits. Returns false, at once, if there is no time for another try.
    pub(crate) async fn pause(&mut self) -> bool {
        if self.end.is_some_and(|end| Instant::now() + self.pause >= end) {
            return false;
        }
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(self.longest);
        let less = if clock::is_real() { RandomState::new().hash_one(()) % 256 } else { 0 };
        sleep(pause / 1024 * (1024 - u32::try_from(less).unwrap_or(0))).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest_and_end_in_time() {
        let (first, longest, limit) = (Duration::from_millis(20), Duration::from_millis(100), Duration::from_secs(1));
        let start = Instant::now();
        let mut backoff = Backoff::new(first, longest).until(start + limit);
        let mut expected = first;
        let mut before = start;
        while backoff.pause().await {
            let paused = before.elapsed();
            assert!(paused >= expected && paused <= expected + Duration::from_millis(1), "{paused:?}");
            (expected, before) = ((expected * 2).min(longest), Instant::now());
        }
        assert!(start.elapsed() > limit / 2 && start.elapsed() < limit, "{:?}", start.elapsed());
    }
}
