//! The clock of a memory store.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::protocol::micros_since_1970;

/// A moment: microseconds since the store was made, by tokio's monotonic clock. Tests can pause that clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    /// After every other moment.
    pub(super) const NEVER: Self = Self(u64::MAX);

    pub(super) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// The time from `now` to this moment. Zero if it has passed.
    pub(super) fn left(self, now: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(now.0))
    }

    pub(super) fn as_micros(self) -> u64 {
        self.0
    }

    pub(super) fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
}

pub(super) struct Clock {
    started: Instant,
    really_started: std::time::Instant,
    /// The wall clock when the store was made, in microseconds since 1970.
    wall_at_start: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        let wall_at_start = micros_since_1970(SystemTime::now());
        Self { started: Instant::now(), really_started: std::time::Instant::now(), wall_at_start }
    }

    pub(super) fn now(&self) -> Moment {
        Moment(micros(self.started.elapsed()))
    }

    /// The smallest fencing token for a claim at this moment. It grows with time. From one process to the next it grows
    /// with the wall clock.
    pub(super) fn fence(&self, now: Moment) -> u64 {
        self.wall_at_start.saturating_add(now.0)
    }

    /// The wall clock. It is read each time, because somebody may set it and a machine may be suspended. Time that a
    /// test skips by tokio's paused clock counts as passed.
    pub(super) fn wall(&self) -> SystemTime {
        let (counted, real) = (self.started.elapsed(), self.really_started.elapsed());
        SystemTime::now() + counted.saturating_sub(real)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn paused_time_that_a_test_lets_pass_counts_on_the_wall_clock() {
        let clock = Clock::start();
        let hour = Duration::from_secs(3600);
        tokio::time::advance(hour).await;
        let ahead = clock.wall().duration_since(SystemTime::now()).unwrap();
        assert!(ahead + Duration::from_secs(60) > hour && ahead <= hour, "{ahead:?}");
        assert_eq!(clock.now().left(Moment(0)), hour);
    }
}
