//! Whether the clock is the machine's, or a test's.

use tokio::time::Instant;

/// Whether the clock of this runtime is the machine's. A test may have paused it.
pub(crate) fn is_real() -> bool {
    let before = std::time::Instant::now();
    let now = Instant::now().into_std();
    (before..=std::time::Instant::now()).contains(&now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::is_real;

    #[tokio::test]
    async fn a_paused_clock_is_told_from_the_machines() {
        assert!(is_real());
        tokio::time::pause();
        assert!(!is_real());
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::time::resume();
        assert!(!is_real(), "it is ahead of the machine's");
    }
}
