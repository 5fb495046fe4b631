//! What is known of a request before its key is claimed. Pure.

pub(crate) mod identify;
pub(crate) mod identity;
pub(crate) mod key;

use axum::{
    extract::MatchedPath,
    http::{HeaderName, HeaderValue, Method, Uri},
};
use bytes::Bytes;

/// What kind of request it is.
pub(crate) enum RequestKind {
    /// Nothing to protect: the method is safe, or protection is switched off.
    Exempt,
    /// There is no key.
    WithoutKey,
    /// There is a key, valid or not.
    KeyedRequest(Box<KeyedRequest>),
}

/// A request with a key.
pub(crate) struct KeyedRequest {
    /// The key header's lines.
    pub(crate) key: Vec<HeaderValue>,
    pub(crate) method: Method,
    pub(crate) matched: Option<MatchedPath>,
    pub(crate) uri: Uri,
    pub(crate) credentials: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: CapturedBody,
}

/// The request's body, for its fingerprint.
pub(crate) enum CapturedBody {
    Whole(Bytes),
    /// Larger than what may be compared; the extractor did not mind.
    TooLarge,
    /// It broke off; the extractor did not mind.
    Broken,
}

/// Whose key it is: the value of the attribute's `scope`.
#[derive(Clone, PartialEq, Eq)]
pub struct Scope(String);

impl Scope {
    pub(crate) fn of(value: &(impl std::fmt::Display + ?Sized)) -> Self {
        Self(value.to_string())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
