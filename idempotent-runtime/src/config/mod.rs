//! The settings of a service and of its handlers, as plain data. This module imports nothing else of the crate.

#[cfg(feature = "encryption")]
pub(crate) mod name_secret;
pub(crate) mod policy;
pub(crate) mod settings;

pub use settings::{AttemptFuture, Outage};
