//! What a service and its handlers were told: plain data, at the bottom of the crate.

pub(crate) mod policy;
pub(crate) mod settings;

pub use settings::{AttemptFuture, Outage};
