//! All that an expansion may name. Not public API: it changes without notice.

pub use std::time::Duration;

pub use axum::response::Response;

pub use crate::{
    assert::{OffersIdempotency, ScopeValue, assert_state_offers_idempotency, scope},
    captured::{Captured, Via},
    config::policy::{KeyFormat, Policy, ReplayPolicy, Takeover},
    request::Scope,
};
