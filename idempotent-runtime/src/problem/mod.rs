//! Problems: the answers that the engine makes itself, as `application/problem+json` (RFC 9457). Pure.

pub mod pages;
pub(crate) mod texts;

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

use crate::telemetry::Metrics;

/// The marker header of a replay: the response was made by an earlier request with the same key. A problem never has it.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The address of the page that documents the kinds. The slug is appended to it.
pub(crate) const DEFAULT_BASE: &str =
    "https://docs.rs/idempotent-runtime/latest/idempotent_runtime/problems/index.html#";

/// Defines the kinds: each with the last part of `type`, the status, and the title. A test compares them with the pages.
macro_rules! kinds {
    ($($(#[$when:meta])* $kind:ident: $slug:literal, $status:ident, $title:literal;)*) => {
        /// The kind of a problem. [`problems`](crate::problems) has a section for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ProblemKind {
            $($(#[$when])* $kind,)*
        }

        impl ProblemKind {
            /// All kinds.
            pub(crate) const ALL: [Self; [$($slug),*].len()] = [$(Self::$kind),*];

            const fn row(self) -> (&'static str, StatusCode, &'static str) {
                match self {
                    $(Self::$kind => ($slug, StatusCode::$status, $title),)*
                }
            }
        }
    };
}

kinds! {
    /// The request has no key, and the handler needs one.
    KeyMissing: "key-missing", BAD_REQUEST, "This operation needs an idempotency key";
    /// The key is not valid, or does not have the format that the handler asks for.
    KeyInvalid: "key-invalid", BAD_REQUEST, "The idempotency key is not valid";
    /// The key's time stamp is older than the ttl, and the store has no record of the key.
    KeyExpired: "key-expired", BAD_REQUEST, "The idempotency key is too old";
    /// The key was used for another request.
    KeyReused: "key-reused", UNPROCESSABLE_ENTITY, "The idempotency key was used for another request";
    /// The first attempt is still running.
    InFlight: "in-flight", CONFLICT, "The first request with this idempotency key is still running";
    /// An earlier attempt died, and its effects are unknown.
    OutcomeUnknown: "outcome-unknown", CONFLICT, "The outcome of the first request is unknown";
    /// The request was carried out, and its response could not be stored.
    NotReplayable: "not-replayable", CONFLICT, "The request was carried out, but its response was not stored";
    /// The request's body is too large to be compared.
    RequestTooLarge: "request-too-large", PAYLOAD_TOO_LARGE, "The request is too large";
    /// The request's body ended early.
    RequestUnreadable: "request-unreadable", BAD_REQUEST, "The request's body could not be read";
    /// The store does not answer.
    StoreUnavailable: "store-unavailable", SERVICE_UNAVAILABLE, "The idempotency store is unavailable";
    /// The journal does not answer.
    JournalUnavailable: "journal-unavailable", SERVICE_UNAVAILABLE,
        "It cannot be read whether this request was carried out";
    /// The store has no room for another key.
    StoreFull: "store-full", SERVICE_UNAVAILABLE, "The idempotency store is full";
    /// Too many protected requests are in flight.
    TooManyInFlight: "too-many-in-flight", SERVICE_UNAVAILABLE, "Too many requests are being processed";
    /// The record of the key cannot be read.
    RecordUnreadable: "record-unreadable", INTERNAL_SERVER_ERROR,
        "What the service keeps for this idempotency key cannot be read";
}

/// Metrics that know which problems are counted where.
pub(crate) fn metrics(namespace: &str) -> Metrics {
    let kinds = ProblemKind::ALL.into_iter();
    let of_handlers = kinds.clone().map(|kind| kind.is_of_handlers().then(|| kind.slug()));
    let refused_early = kinds.filter(|kind| kind.is_refused_early()).map(ProblemKind::slug);
    Metrics::new(namespace, of_handlers.collect(), refused_early)
}

impl ProblemKind {
    /// Whether it may be the answer after the handler of the request is known.
    pub(crate) const fn is_of_handlers(self) -> bool {
        !matches!(self, Self::KeyMissing | Self::RequestTooLarge | Self::RequestUnreadable | Self::TooManyInFlight)
    }

    /// Whether it may be the answer before that.
    pub(crate) const fn is_refused_early(self) -> bool {
        // A key that is made of a handler's own arguments, or whose time stamp is wrong, is refused later.
        matches!(self, Self::KeyInvalid) || !self.is_of_handlers()
    }

    /// The last part of the problem's `type`, such as `key-missing`.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        self.row().0
    }

    /// The status code of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// The kind of problem in a few words. They are the same for every problem of the kind.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }
}

/// An answer that the engine makes itself. It never contains the key. Of a stored response it contains only the
/// `Location`.
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

    /// The kind of problem.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The `type` of RFC 9457: the base, and the slug of the kind.
    #[must_use]
    pub fn type_uri(&self) -> String {
        format!("{}{}", self.base, self.kind.slug())
    }

    /// The `detail` of RFC 9457: what the client can do about it.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// `Retry-After` in whole seconds. `None` if trying again does not help.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|pause| pause.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX))
    }

    /// The `Location` of a response that was not stored.
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
    /// Adds to the service's own answer the headers that clients need in any format. An empty answer gets the problem
    /// as its body.
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
        // Four strings and a number can always be serialised. If that failed, the status would still reach the client.
        serde_json::to_vec(&members).unwrap_or_default()
    }
}

/// Adds a header, unless it is there already.
fn put(response: &mut Response, name: HeaderName, value: HeaderValue) {
    if !response.headers().contains_key(&name) {
        // This only fails if the answer has more headers than the map can hold. The answer is then sent without this
        // header.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_have_each_problem_with_its_status_and_no_other() {
        let sections: Vec<_> = include_str!("pages.rs").split("//! # ").skip(1).collect();
        let errors =
            include_str!("../../docs/errors.md").split("\n### ").find(|part| part.starts_with("Sent to clients"));
        let rows: Vec<_> = errors.unwrap().lines().filter_map(|line| line.strip_prefix("| `")).skip(1).collect();
        let contract = include_str!("../../docs/contract.md");
        assert_eq!((sections.len(), rows.len()), (ProblemKind::ALL.len(), ProblemKind::ALL.len()));
        for kind in ProblemKind::ALL {
            let (slug, status) = (kind.slug(), kind.status().as_u16());
            let section = format!("{slug}\n//! **{status}");
            assert!(sections.iter().any(|text| text.starts_with(&section)), "problem/pages.rs: {slug}");
            assert!(rows.iter().any(|row| row.starts_with(&format!("{slug}` | {status}"))), "docs/errors.md: {slug}");
            assert!(contract.contains(&format!("{status} `{slug}`")), "docs/contract.md: {slug}");
        }
    }
}
