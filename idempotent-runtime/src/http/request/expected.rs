//! [`Expected`]: what the handler's policy says about reading its request. Pure.

use axum::http::HeaderName;

use crate::config::policy::{FingerprintOf, KeyFormat, KeyFrom, Policy};

/// The part of a handler's policy that is needed before the last argument is extracted.
pub(crate) struct Expected {
    own_header: Option<&'static str>,
    pub(super) key_from: KeyFrom,
    /// Whether a request without a key is refused.
    pub(super) required: bool,
    /// The format that a key must have.
    pub(super) format: KeyFormat,
    /// Whether the body is part of the fingerprint.
    pub(crate) body: bool,
}

impl Expected {
    /// For a handler whose attribute sets none of this.
    pub(crate) const DEFAULT: Self =
        Self { own_header: None, key_from: KeyFrom::Header, required: true, format: KeyFormat::Any, body: true };

    pub(crate) fn from_policy(policy: &Policy) -> Self {
        Self {
            own_header: policy.header,
            key_from: policy.key_from,
            required: policy.required,
            format: policy.key,
            body: policy.fingerprint == FingerprintOf::Request,
        }
    }

    /// The handler's own key header. The macro has checked the name.
    pub(super) fn header(&self) -> Option<HeaderName> {
        self.own_header.and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok())
    }
}
