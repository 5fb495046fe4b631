//! What a service and its handlers were told: plain data, at the bottom of the crate.

#[cfg(feature = "encryption")]
pub(crate) mod name_secret;
pub(crate) mod policy;
pub(crate) mod settings;

pub use settings::{AttemptFuture, Outage};
