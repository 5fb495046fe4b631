//! The server's clock between two looks at it.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

/// After so long, in microseconds, the server is asked again: two crystals drift apart by some 50 µs a second, and a
/// fence has to grow from one process to the next.
const STALE: u64 = 60_000_000;

/// Redis' `TIME` when it was last asked, and this process's monotonic time since. All in microseconds.
pub(super) struct Clock {
    origin: Instant,
    /// What the server's clock showed at `origin`.
    at_origin: AtomicU64,
    /// When it was asked, since `origin`; `u64::MAX` for never.
    asked: AtomicU64,
    highest_fence: AtomicU64,
}

impl Clock {
    pub(super) fn new() -> Self {
        let (at_origin, asked, highest_fence) = (AtomicU64::new(0), AtomicU64::new(u64::MAX), AtomicU64::new(0));
        Self { origin: Instant::now(), at_origin, asked, highest_fence }
    }

    /// The server said `micros`; its answer is here now.
    pub(super) fn set(&self, micros: u64) {
        let elapsed = self.elapsed();
        self.at_origin.store(micros.saturating_sub(elapsed), Relaxed);
        self.asked.store(elapsed, Relaxed);
    }

    /// Microseconds since 1970 by the server's clock.
    pub(super) fn micros(&self) -> u64 {
        self.at_origin.load(Relaxed).saturating_add(self.elapsed())
    }

    /// A fence larger than every one that this process proposed before, whatever the server's clock did meanwhile.
    pub(super) fn fence(&self) -> u64 {
        let now = self.micros();
        let before = self.highest_fence.fetch_max(now, Relaxed);
        if now > before { now } else { self.highest_fence.fetch_add(1, Relaxed).saturating_add(1) }
    }

    pub(super) fn is_stale(&self) -> bool {
        let asked = self.asked.load(Relaxed);
        asked == u64::MAX || self.elapsed().saturating_sub(asked) > STALE
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_grows_even_when_the_clock_of_the_server_steps_back() {
        let clock = Clock::new();
        clock.set(2_000_000_000_000_000);
        let before = clock.fence();
        clock.set(1_000_000_000_000_000);
        let (next, after) = (clock.fence(), clock.fence());
        assert!(before < next && next < after, "{before} {next} {after}");
        assert!(clock.micros() < before, "but the time is the server's");
    }

    #[test]
    fn concurrent_fences_differ() {
        let clock = Clock::new();
        clock.set(5);
        let fences: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1_000).map(|_| clock.fence()).collect::<Vec<_>>())).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        let distinct: std::collections::HashSet<_> = fences.iter().collect();
        assert_eq!(distinct.len(), fences.len());
    }

    #[test]
    fn a_clock_that_was_never_set_is_stale() {
        let clock = Clock::new();
        assert!(clock.is_stale());
        clock.set(1);
        assert!(!clock.is_stale());
    }
}
