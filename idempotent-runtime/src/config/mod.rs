//! The settings of a service and of its handlers, as plain data. Of this crate it imports only the problems.

#[cfg(feature = "encryption")]
pub(crate) mod name_secret;
pub(crate) mod policy;
pub(crate) mod settings;

use std::time::Duration;

pub use settings::{AttemptFuture, Outage};

/// The longest time limit of a call, a connection or a wait for a body.
const LONGEST_LIMIT: Duration = Duration::from_secs(60 * 60);

/// A time limit as the user has set it, shortened to one hour. So every moment that is calculated from it exists.
pub(crate) fn time_limit(limit: Duration) -> Duration {
    limit.min(LONGEST_LIMIT)
}

/// A duration as the user has set it, shortened to 100 years.
pub(crate) fn duration(duration: Duration) -> Duration {
    duration.min(policy::LONGEST_TTL)
}
