//! Examines a request before its key is claimed. Pure.

pub(crate) mod body_digest;
mod digest;
mod expected;
mod fingerprint;
pub(crate) mod identify;
pub(crate) mod identity;
pub(crate) mod key;
mod meaning;
mod media_type;
mod misspelt;
mod quoted;
pub(crate) mod reading;
mod route;
mod ulid;

use axum::{
    extract::{OriginalUri, Request},
    http::{HeaderName, Method},
};

pub(crate) use self::digest::NotSerializable;
pub use self::digest::ValueDigest;
pub(crate) use self::expected::Expected;
use self::{
    body_digest::BodyDigest,
    fingerprint::ComparedParts,
    key::{Key, KeyError},
    route::RequestRoute,
};
use crate::{
    config::{policy::KeyFrom, settings::Settings},
    engine::NotAdmitted,
    http::header_names::lines_of,
    problem::{Problem, ProblemKind, texts},
    telemetry::FirstTraceparent,
};

/// The header of W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What has to be done with a request.
pub(crate) enum RequestKind {
    /// Nothing. The method is safe, or protection is disabled.
    Exempt,
    /// The handler runs unprotected, because the request has no key.
    WithoutKey,
    /// The request has a valid key.
    Keyed(Box<KeyedRequest>),
    /// The value of the attribute's `key` is not a valid key.
    KeyValueInvalid(KeyError),
    /// The value of the attribute's `fingerprint` could not be hashed. This is a fault of the program.
    Faulty,
}

impl RequestKind {
    /// Sets the value of the attribute's `key = EXPR`. `None` and a blank text count as a missing key.
    pub(crate) fn set_key(&mut self, value: Option<String>) {
        let Self::Keyed(keyed) = self else { return };
        match value.filter(|text| !text.trim().is_empty()).map(|text| Key::from_value(&text)) {
            Some(Ok(key)) => keyed.key = key,
            Some(Err(error)) => *self = Self::KeyValueInvalid(error),
            None => *self = Self::WithoutKey,
        }
    }

    /// Sets the value of the attribute's `fingerprint = EXPR`. `None` if it could not be hashed.
    pub(crate) fn set_value(&mut self, value: Option<ValueDigest>) {
        match (&mut *self, value) {
            (Self::Keyed(keyed), Some(value)) => keyed.value = Some(value),
            (Self::Keyed(_), None) => *self = Self::Faulty,
            _ => {}
        }
    }
}

/// A request with a key, with what is known before its body is read.
pub(crate) struct KeyedRequest {
    key: Key,
    method: Method,
    route: RequestRoute,
    compared: ComparedParts,
    body: BodyDigest,
    /// The value that is compared instead of the query, the body and the headers.
    value: Option<ValueDigest>,
    /// The trace that the request belongs to.
    trace: Option<FirstTraceparent>,
}

impl KeyedRequest {
    /// Takes what is needed from the head.
    fn new(key: Key, request: &mut Request, settings: &Settings) -> Self {
        let route = RequestRoute::from_request(request);
        let current = request.uri();
        let original = request.extensions().get::<OriginalUri>().map_or(current, |original| &original.0);
        let compared = ComparedParts::new([original, current], &route, request.headers(), settings);
        let trace = lines_of(request.headers(), &TRACEPARENT).next();
        let trace = trace.and_then(|line| FirstTraceparent::parse(line.as_bytes()));
        let (method, body) = (request.method().clone(), BodyDigest::default());
        Self { key, method, route, compared, body, value: None, trace }
    }

    pub(crate) fn take_trace(&mut self) -> Option<FirstTraceparent> {
        self.trace.take()
    }

    /// Whether it has none of the credentials that are compared.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.compared.is_anonymous()
    }

    /// Adds the digest of the body.
    pub(crate) fn with_body(&mut self, body: BodyDigest) {
        self.body = body;
    }
}

/// Why a request is refused. For each reason there is a problem that is sent to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request has no key. `meant`: a header that was probably meant to carry it.
    #[error("the request has no key")]
    KeyMissing { meant: Option<HeaderName> },
    /// The same, for a handler with its own key header.
    #[error("the request has no key")]
    OwnKeyMissing { header: HeaderName, meant: Option<HeaderName> },
    /// The same, for a handler whose key is the value of an expression.
    #[error("the request has no value for its key")]
    KeyValueMissing,
    /// The key is not valid.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Too many requests with a key are in flight.
    #[error("too many requests are in flight")]
    TooManyInFlight,
    /// Too many bytes of bodies are held in memory.
    #[error("there is no memory left for the body")]
    NoRoom,
    /// The body is too large to be compared, or too large to be read for a handler that does not read it.
    #[error("the body is too large")]
    BodyTooLarge,
    /// The body failed before its end.
    #[error("the body ended early")]
    BodyBroken,
}

impl From<NotAdmitted> for Refusal {
    fn from(not: NotAdmitted) -> Self {
        match not {
            NotAdmitted::TooMany => Self::TooManyInFlight,
            NotAdmitted::NoRoom => Self::NoRoom,
            NotAdmitted::TooLarge => Self::BodyTooLarge,
        }
    }
}

impl Refusal {
    /// The reason for a request without a key. `meant`: a header that was probably meant to carry it.
    pub(crate) fn no_key(expected: &Expected, meant: Option<HeaderName>) -> Self {
        match (expected.key_from, expected.header()) {
            (KeyFrom::Value, _) => Self::KeyValueMissing,
            (KeyFrom::Header, Some(header)) => Self::OwnKeyMissing { header, meant },
            (KeyFrom::Header, None) => Self::KeyMissing { meant },
        }
    }

    /// What the client is told.
    pub(crate) fn problem(&self, settings: &Settings) -> Problem {
        match self {
            Self::KeyMissing { meant } => texts::key_missing(&settings.header, meant.as_ref()),
            Self::OwnKeyMissing { header, meant } => texts::key_missing(header, meant.as_ref()),
            Self::KeyValueMissing => texts::key_value_missing(),
            Self::Key(error) => Problem::new(ProblemKind::KeyInvalid, error.to_string()),
            Self::TooManyInFlight => texts::too_many_in_flight(),
            Self::NoRoom => texts::no_room(),
            Self::BodyTooLarge => texts::request_too_large(),
            Self::BodyBroken => texts::request_unreadable(),
        }
    }
}

/// Examines the head of a request. Its body is not read.
pub(crate) fn inspect(request: &mut Request, settings: &Settings, expected: &Expected) -> Result<RequestKind, Refusal> {
    if settings.disabled || is_safe(request.method()) {
        return Ok(RequestKind::Exempt);
    }
    let keyed = |key, request| RequestKind::Keyed(Box::new(KeyedRequest::new(key, request, settings)));
    if expected.key_from == KeyFrom::Value {
        return Ok(keyed(Key::to_come(), request));
    }
    let headers = request.headers();
    let own = expected.header();
    let (header, aliases) = match &own {
        Some(own) => (own, &[] as &[HeaderName]),
        None => (&settings.header, &*settings.header_aliases),
    };
    match Key::find(headers, header, aliases)? {
        Some(key) => Ok(keyed(key.of_format(expected.format)?, request)),
        None => match misspelt::find(headers, header) {
            None if !expected.required => Ok(RequestKind::WithoutKey),
            meant => Err(Refusal::no_key(expected, meant)),
        },
    }
}

/// Whether a method asks for no change (RFC 9110, section 9.2.1), by IANA's registry of methods.
fn is_safe(method: &Method) -> bool {
    method.is_safe() || matches!(method.as_str(), "PRI" | "PROPFIND" | "QUERY" | "REPORT" | "SEARCH")
}

/// The value of the attribute's `scope`: it tells callers with the same key apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Scope(String);

impl Scope {
    pub(crate) fn new(value: &(impl std::fmt::Display + ?Sized)) -> Self {
        Self(value.to_string())
    }

    fn as_str(&self) -> &str {
        &self.0
    }

    fn names_somebody(&self) -> bool {
        identity::names_somebody(&self.0)
    }
}
