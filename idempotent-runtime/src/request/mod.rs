//! What is known of a request before its key is claimed. Pure.

mod fingerprint;
pub(crate) mod identify;
pub(crate) mod identity;
pub(crate) mod key;
mod media_type;
mod misspelt;
pub(crate) mod reading;
pub(crate) mod room;

use axum::{
    extract::{MatchedPath, OriginalUri, Request},
    http::{HeaderName, Method},
};

use self::{
    fingerprint::Asked,
    key::{Key, KeyError},
    reading::BodyDigest,
};
use crate::config::settings::Settings;

/// What kind of request it is.
pub(crate) enum RequestKind {
    /// Nothing to protect: the method is safe, or protection is switched off.
    Exempt,
    /// There is no key.
    WithoutKey,
    /// There is a valid key.
    Keyed(Box<KeyedRequest>),
}

/// A request with a key, as far as it is known before its body is read.
pub(crate) struct KeyedRequest {
    key: Key,
    method: Method,
    matched: Option<MatchedPath>,
    /// The path, if no pattern of a router matched it.
    path: Option<Box<str>>,
    asked: Asked,
    body: BodyDigest,
}

impl KeyedRequest {
    /// Takes down what the head says.
    fn of(key: Key, request: &Request, settings: &Settings) -> Self {
        let uri = request.extensions().get::<OriginalUri>().map_or(request.uri(), |original| &original.0);
        let matched = request.extensions().get::<MatchedPath>().cloned();
        let path = if matched.is_none() { Some(uri.path().into()) } else { None };
        let asked = Asked::of(uri, request.headers(), settings);
        Self { key, method: request.method().clone(), matched, path, asked, body: BodyDigest::default() }
    }

    /// Adds what the body says.
    pub(crate) fn with_body(&mut self, body: BodyDigest) {
        self.body = body;
    }
}

/// Why a request gets no further. Each has a problem that is answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// There is no key; perhaps it is in a header that was meant to carry it.
    #[error("the request has no key")]
    KeyMissing { meant: Option<HeaderName> },
    /// The key is not valid.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Too many requests with a key are being processed.
    #[error("too many requests are in flight")]
    TooManyInFlight,
    /// Too many bytes of bodies are being held.
    #[error("there is no room for the body")]
    NoRoom,
    /// The body is larger than what may be compared, or than what may be read for a handler that does not read it.
    #[error("the body is too large")]
    BodyTooLarge,
    /// The body broke off before its end.
    #[error("the body broke off")]
    BodyBroken,
}

/// Looks at the head of a request; nothing of its body is read.
///
/// `required`: whether a key is demanded; `None` if that is not known yet.
pub(crate) fn inspect(request: &Request, settings: &Settings, required: Option<bool>) -> Result<RequestKind, Refusal> {
    if settings.disabled || request.method().is_safe() {
        return Ok(RequestKind::Exempt);
    }
    let headers = request.headers();
    match Key::find(headers, &settings.header, &settings.header_aliases)? {
        Some(key) => Ok(RequestKind::Keyed(Box::new(KeyedRequest::of(key, request, settings)))),
        None => match misspelt::find(headers, &settings.header) {
            None if required != Some(true) => Ok(RequestKind::WithoutKey),
            meant => Err(Refusal::KeyMissing { meant }),
        },
    }
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
