//! The names that the macro's expansion uses. Not public API: they change without notice.

pub use std::{future::Future, marker::Send, time::Duration};

pub use axum::response::Response;

pub use crate::{
    assert::{
        Argument, DebugHandlerAbove, FingerprintValue, KeyValue, NothingAbove, OfBody, OfHead, OfNoKind,
        OffersIdempotency, Permits, ScopeValue, UtoipaPathAbove, assert_reads_no_body, assert_state_offers_idempotency,
        fingerprint, key, scope,
    },
    config::policy::{FingerprintOf, KeyFormat, KeyFrom, Policy, ReplayPolicy, Takeover},
    http::{
        captured::{
            Captured, Via,
            source::{FromExpression, FromExtension, GiveTheStateAnIdempotencyAndDeriveFromRef, StoreValue},
        },
        deferred::{Deferred, Protect, ProtectedLater},
        protect::Protected,
        request::{Scope, ValueDigest},
    },
};

#[cfg(feature = "utoipa")]
pub use crate::openapi::{Described, DescribedPolicy};
