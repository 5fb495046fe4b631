//! The names that the macro's expansion uses. Not public API: they change without notice.

pub use std::{future::Future, time::Duration};

pub use axum::response::Response;

pub use crate::{
    assert::{
        FingerprintValue, KeyValue, OffersIdempotency, ScopeValue, assert_state_offers_idempotency, fingerprint, key,
        scope,
    },
    config::policy::{FingerprintOf, KeyFormat, KeyFrom, Policy, ReplayPolicy, Takeover},
    http::{
        captured::{
            Captured, Via,
            protected::Protected,
            source::{FromExpression, FromExtension, StateOffersIdempotency, StoreValue},
        },
        deferred::{Deferred, Protect, ProtectedLater},
        request::{Scope, ValueDigest},
    },
};

#[cfg(feature = "utoipa")]
pub use crate::openapi::{Described, DescribedPolicy};
