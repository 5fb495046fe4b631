//! Estimates the server's clock between two readings of it.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// After this time the server's clock is read again, while calls go on. Clocks drift by about 50 µs a second,
/// and fencing tokens must grow from one process to the next.
const STALE: Duration = Duration::from_secs(60);

/// If this process's two clocks differ by more than this, the machine was suspended or its time was set.
const STEP_MICROS: u64 = 500_000;

/// The last answer to Redis' `TIME`, and this process's monotonic time since then. All in microseconds.
pub(super) struct Clock {
    origin: Instant,
    /// The server's clock at `origin`.
    at_origin: AtomicU64,
    /// When the clock was read, since `origin`. `u64::MAX` if it never was.
    asked: AtomicU64,
    /// How far this machine's wall clock was ahead of `origin` at that time.
    wall: AtomicI64,
    highest_fence: AtomicU64,
}

impl Clock {
    pub(super) fn new() -> Self {
        let (at_origin, asked, highest_fence) = (AtomicU64::new(0), AtomicU64::new(u64::MAX), AtomicU64::new(0));
        Self { origin: Instant::now(), at_origin, asked, wall: AtomicI64::new(0), highest_fence }
    }

    /// Called with the server's answer, when it has just arrived.
    pub(super) fn set(&self, micros: u64) {
        let elapsed = self.elapsed(Instant::now());
        self.at_origin.store(micros.saturating_sub(elapsed), Relaxed);
        self.wall.store(wall_ahead_of(elapsed), Relaxed);
        self.asked.store(elapsed, Relaxed);
    }

    /// The server's clock now, in microseconds since 1970.
    pub(super) fn micros(&self, now: Instant) -> u64 {
        self.at_origin.load(Relaxed).saturating_add(self.elapsed(now))
    }

    /// A fencing token larger than every one that this process has proposed before, even if the server's clock was set
    /// back.
    pub(super) fn fence(&self, now: Instant) -> u64 {
        let now = self.micros(now);
        let before = self.highest_fence.fetch_max(now, Relaxed);
        if now > before { now } else { self.highest_fence.fetch_add(1, Relaxed).saturating_add(1) }
    }

    /// The time since the server's clock was read. `None` if it never was.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let asked = self.asked.load(Relaxed);
        (asked != u64::MAX).then(|| Duration::from_micros(self.elapsed(now).saturating_sub(asked)))
    }

    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.age(now).is_none_or(|age| age > STALE)
    }

    /// Whether this machine was suspended or its time was set. Monotonic time stops while a machine sleeps, so the two
    /// clocks then disagree, and the estimate of the server's clock is no longer valid.
    pub(super) fn stepped(&self, now: Instant) -> bool {
        wall_ahead_of(self.elapsed(now)).abs_diff(self.wall.load(Relaxed)) > STEP_MICROS
    }

    /// As if the machine had slept for ten minutes: its wall clock advances, and the monotonic clock does not.
    #[cfg(test)]
    pub(super) fn suspend(&self) {
        self.wall.fetch_sub(600_000_000, Relaxed);
    }

    fn elapsed(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.origin);
        elapsed.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(elapsed.subsec_micros()))
    }
}

/// This machine's wall clock, less `elapsed`.
fn wall_ahead_of(elapsed: u64) -> i64 {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    i64::try_from(wall).unwrap_or(i64::MAX).saturating_sub_unsigned(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_grows_even_when_the_clock_of_the_server_steps_back() {
        let clock = Clock::new();
        let now = Instant::now();
        clock.set(2_000_000_000_000_000);
        let before = clock.fence(now);
        clock.set(1_000_000_000_000_000);
        let (next, after) = (clock.fence(now), clock.fence(now));
        assert!(before < next && next < after, "{before} {next} {after}");
        assert!(clock.micros(now) < before, "but the time is the server's");
    }

    #[test]
    fn concurrent_fences_differ() {
        let clock = Clock::new();
        clock.set(5);
        let fences: Vec<u64> = std::thread::scope(|scope| {
            let fences = || (0..1_000).map(|_| clock.fence(Instant::now())).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(fences)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        let distinct: std::collections::HashSet<_> = fences.iter().collect();
        assert_eq!(distinct.len(), fences.len());
    }

    #[test]
    fn a_clock_that_was_never_set_is_stale() {
        let clock = Clock::new();
        assert!(clock.is_stale(Instant::now()));
        clock.set(1);
        assert!(!clock.is_stale(Instant::now()) && !clock.stepped(Instant::now()));
    }

    #[test]
    fn a_suspended_machine_is_noticed() {
        let clock = Clock::new();
        clock.set(1);
        clock.suspend();
        assert!(clock.stepped(Instant::now()));
        clock.set(1);
        assert!(!clock.stepped(Instant::now()));
    }

    #[test]
    fn what_is_known_grows_old() {
        let clock = Clock::new();
        clock.set(1);
        assert!(clock.is_stale(Instant::now() + 2 * STALE));
        assert_eq!(Clock::new().age(Instant::now()), None);
    }
}
