//! The request headers that say what the request asks for, besides the content's type. Pure.
//!
//! `docs/contract.md` has the same lists. A test compares them.

use std::sync::LazyLock;

use axum::http::HeaderName;

use crate::http::header_names::HeaderNames;

/// Preconditions (RFC 9110, section 13.1; RFC 4918, section 10.4; RFC 6638, section 8.3). A request with another
/// precondition is another request.
const PRECONDITIONS: &[&str] = &[
    "if",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-schedule-tag-match",
    "if-unmodified-since",
];

/// What the bytes are, and where they belong (RFC 9110, sections 8 and 14; RFC 5023, section 9.7; RFC 6266; tus and the
/// IETF's resumable uploads). The next part of an upload may have the same bytes as the last one.
const CONTENT: &[&str] = &[
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "range",
    "slug",
    "upload-complete",
    "upload-concat",
    "upload-defer-length",
    "upload-incomplete",
    "upload-length",
    "upload-metadata",
    "upload-offset",
    "x-goog-upload-command",
    "x-goog-upload-offset",
    "x-ms-range",
    "x-update-range",
    "x-upload-content-length",
    "x-upload-content-type",
];

/// What an operation of `WebDAV` is done to (RFC 4918, section 10).
const TARGETS: &[&str] = &["depth", "destination", "lock-token", "overwrite"];

static NAMES: LazyLock<HeaderNames> = LazyLock::new(|| HeaderNames::new(&[PRECONDITIONS, CONTENT, TARGETS]));

/// Whether a header says what the request asks for.
pub(super) fn has_meaning(name: &HeaderName) -> bool {
    NAMES.contains(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_lists_is_found_and_no_other() {
        for name in [PRECONDITIONS, CONTENT, TARGETS].concat() {
            assert!(has_meaning(&HeaderName::from_static(name)), "{name}");
        }
        for name in [
            "content-type",
            "content-length",
            "cookie",
            "user-agent",
            "x-request-id",
            "date",
            "digest",
            "idempotency-key",
        ] {
            assert!(!has_meaning(&HeaderName::from_static(name)), "{name}");
        }
    }

    #[test]
    fn the_contract_lists_the_same_names() {
        let contract = include_str!("../../../docs/contract.md").to_ascii_lowercase();
        let section = contract.split("## which requests are the same").nth(1).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        for name in [PRECONDITIONS, CONTENT, TARGETS].concat() {
            assert!(section.contains(&format!("`{name}`")), "docs/contract.md does not name {name}");
        }
    }
}
