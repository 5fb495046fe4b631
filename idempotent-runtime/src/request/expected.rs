//! [`Expected`]: what is known of a handler when its request is read. Pure.

use axum::http::HeaderName;

use crate::config::policy::{FingerprintOf, KeyFormat, KeyFrom, Policy};

/// What a handler's own policy says of the request, as far as it is known before the last argument is extracted.
pub(crate) struct Expected {
    own_header: Option<&'static str>,
    pub(super) key_from: KeyFrom,
    /// Whether a key is demanded.
    pub(super) required: bool,
    /// What a key has to look like.
    pub(super) format: KeyFormat,
    /// Whether the body belongs to the fingerprint.
    pub(crate) body: bool,
}

impl Expected {
    /// For a handler whose attribute says nothing of it.
    pub(crate) const DEFAULT: Self =
        Self { own_header: None, key_from: KeyFrom::Header, required: true, format: KeyFormat::Any, body: true };

    pub(crate) fn of(policy: &Policy) -> Self {
        Self {
            own_header: policy.header,
            key_from: policy.key_from,
            required: policy.required,
            format: policy.key,
            body: policy.fingerprint == FingerprintOf::Request,
        }
    }

    /// The handler's own key header. The attribute has checked the name.
    pub(super) fn header(&self) -> Option<HeaderName> {
        self.own_header.and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok())
    }
}
