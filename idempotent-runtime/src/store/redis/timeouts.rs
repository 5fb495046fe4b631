//! The time limits of the Redis store.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For one call of the store, however many round trips it takes.
    pub(super) response: Duration,
    /// For one connection.
    pub(super) connect: Duration,
}

impl Timeouts {
    /// How long sent data may stay unacknowledged before the operating system closes the connection. By then the calls
    /// on it have timed out.
    pub(super) fn unacknowledged(&self) -> Duration {
        self.response.saturating_mul(4)
    }
}
