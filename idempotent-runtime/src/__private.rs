//! All that an expansion may name. Not public API: it changes without notice.

pub use std::time::Duration;

pub use axum::response::Response;

pub use crate::{
    capture::{Captured, Scope, Via, scope},
    policy::{KeyFormat, Policy, ReplayPolicy, Takeover},
};
