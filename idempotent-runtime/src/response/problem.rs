//! Answers that are the engine's own: `application/problem+json`, RFC 9457. Pure.

use std::{fmt, time::Duration};

use axum::{
    body::{Body, HttpBody as _},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::replay::REPLAYED;

/// The page that documents the kinds, up to where the slug follows.
pub(crate) const DEFAULT_BASE: &str =
    "https://docs.rs/idempotent-runtime/latest/idempotent_runtime/problems/index.html#";

/// What went wrong; each kind has a section in [`problems`](crate::problems).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// No key, and the handler demands one.
    KeyMissing,
    /// The header is no key, or not of the demanded format.
    KeyInvalid,
    /// The key's time stamp is older than the ttl and nothing is known of it.
    KeyExpired,
    /// The key belongs to another request.
    KeyReused,
    /// The first attempt is still running.
    InFlight,
    /// An earlier attempt died, and what it did is unknown.
    OutcomeUnknown,
    /// The request ran, and its response could not be kept.
    NotReplayable,
    /// The request's body is larger than what may be compared.
    RequestTooLarge,
    /// The request's body broke off.
    RequestUnreadable,
    /// The store does not answer.
    StoreUnavailable,
    /// The journal does not answer.
    JournalUnavailable,
    /// The store has no room for another key.
    StoreFull,
    /// Too many protected requests are in flight.
    TooManyInFlight,
    /// The record of the key cannot be read.
    RecordUnreadable,
}

impl ProblemKind {
    /// All kinds, in the order of their numbers.
    pub(crate) const ALL: [Self; 14] = [
        Self::KeyMissing,
        Self::KeyInvalid,
        Self::KeyExpired,
        Self::KeyReused,
        Self::InFlight,
        Self::OutcomeUnknown,
        Self::NotReplayable,
        Self::RequestTooLarge,
        Self::RequestUnreadable,
        Self::StoreUnavailable,
        Self::JournalUnavailable,
        Self::StoreFull,
        Self::TooManyInFlight,
        Self::RecordUnreadable,
    ];

    /// The slugs of all kinds.
    #[allow(clippy::indexing_slicing)] // computed by the compiler, which reports an index out of bounds
    pub(crate) const SLUGS: [&str; Self::ALL.len()] = {
        let mut slugs = [""; Self::ALL.len()];
        let mut at = 0;
        while at < slugs.len() {
            slugs[at] = Self::ALL[at].slug();
            at += 1;
        }
        slugs
    };

    /// The last part of the problem's `type`, such as `key-missing`.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::KeyMissing => "key-missing",
            Self::KeyInvalid => "key-invalid",
            Self::KeyExpired => "key-expired",
            Self::KeyReused => "key-reused",
            Self::InFlight => "in-flight",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::NotReplayable => "not-replayable",
            Self::RequestTooLarge => "request-too-large",
            Self::RequestUnreadable => "request-unreadable",
            Self::StoreUnavailable => "store-unavailable",
            Self::JournalUnavailable => "journal-unavailable",
            Self::StoreFull => "store-full",
            Self::TooManyInFlight => "too-many-in-flight",
            Self::RecordUnreadable => "record-unreadable",
        }
    }

    /// The status that the problem is answered with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::KeyMissing | Self::KeyInvalid | Self::KeyExpired | Self::RequestUnreadable => StatusCode::BAD_REQUEST,
            Self::InFlight | Self::OutcomeUnknown | Self::NotReplayable => StatusCode::CONFLICT,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::StoreUnavailable | Self::JournalUnavailable | Self::StoreFull | Self::TooManyInFlight => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::RecordUnreadable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What kind of problem it is, in a few words that are the same on every occasion.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::KeyMissing => "This operation needs an idempotency key",
            Self::KeyInvalid => "The idempotency key is not valid",
            Self::KeyExpired => "The idempotency key is too old",
            Self::KeyReused => "The idempotency key was used for another request",
            Self::InFlight => "The first request with this idempotency key is still running",
            Self::OutcomeUnknown => "What became of the first request is unknown",
            Self::NotReplayable => "The request was carried out, but its response was not kept",
            Self::RequestTooLarge => "The request is too large",
            Self::RequestUnreadable => "The request's body could not be read",
            Self::StoreUnavailable => "The record of idempotency keys is not available",
            Self::JournalUnavailable => "The journal of finished requests is not available",
            Self::StoreFull => "The record of idempotency keys is full",
            Self::TooManyInFlight => "Too many requests are being processed",
            Self::RecordUnreadable => "The record of this idempotency key cannot be read",
        }
    }
}

/// An answer of the engine's own. It never carries the key or anything of a stored response but its `Location`.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: ProblemKind,
    base: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    location: Option<HeaderValue>,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, base: DEFAULT_BASE, detail: detail.into(), retry_after: None, location: None }
    }

    pub(crate) fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    pub(crate) fn location(mut self, location: Option<HeaderValue>) -> Self {
        self.location = location;
        self
    }

    pub(crate) fn based_on(mut self, base: &'static str) -> Self {
        self.base = base;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// RFC 9457 `type`: the base and the kind's slug.
    #[must_use]
    pub fn type_uri(&self) -> String {
        format!("{}{}", self.base, self.kind.slug())
    }

    /// RFC 9457 `detail`: what the client can do about it.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// `Retry-After` in whole seconds, where trying again can help.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|pause| pause.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX))
    }

    /// The `Location` of a response that was not kept.
    #[must_use]
    pub fn stored_location(&self) -> Option<&HeaderValue> {
        self.location.as_ref()
    }
}

/// The title and the detail, in one line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}", self.kind.title(), self.detail)
    }
}

/// The members of RFC 9457, section 3.1.
#[derive(Serialize)]
struct Members<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// Adds to an answer what clients need whatever its format is, and where it is empty the problem itself.
    pub(crate) fn complete(&self, mut response: Response) -> Response {
        if response.body().size_hint().exact() == Some(0) && !response.headers().contains_key(CONTENT_TYPE) {
            *response.body_mut() = Body::from(self.members());
            put(&mut response, CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        if let Some(seconds) = self.retry_after_seconds() {
            put(&mut response, RETRY_AFTER, seconds.into());
        }
        if let Some(location) = &self.location {
            put(&mut response, LOCATION, location.clone());
        }
        response.headers_mut().remove(REPLAYED);
        response
    }

    fn members(&self) -> Vec<u8> {
        let members = Members {
            r#type: &self.type_uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
        };
        // Four strings and a number always serialise; should they not, the status alone still tells the client.
        serde_json::to_vec(&members).unwrap_or_default()
    }
}

/// Adds a header that is not there.
fn put(response: &mut Response, name: HeaderName, value: HeaderValue) {
    if !response.headers().contains_key(&name) {
        // A map that is full has more headers than HTTP allows; then one that is missing is the least fault.
        let _ = response.headers_mut().try_insert(name, value);
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.kind.status();
        self.complete(response)
    }
}
