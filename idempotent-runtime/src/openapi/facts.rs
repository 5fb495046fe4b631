//! What a document says of a protected operation, as the JSON of OpenAPI. `by_utoipa` and `by_aide` read it into their
//! libraries' types.

use std::{collections::BTreeMap, time::Duration};

use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    config::policy::{FingerprintOf, KeyFormat, KeyFrom, Policy, Takeover, Terms},
    http::{request::key::MAX_KEY, response::replay::ReplayRule},
    problem::{DEFAULT_BASE, ProblemKind, texts::shown},
};

/// The extension of an operation that states the ttl, as an ISO 8601 duration.
pub(super) const TTL: &str = "x-idempotency-key-ttl";

/// The extension of an operation that lists what its attribute leaves to the service's builder: its header, its
/// takeover and its ttl.
pub(super) const SET_BY_SERVICE: &str = "x-idempotency-set-by-service";
pub(super) const HEADER_OPTION: &str = "header";
pub(super) const TAKEOVER_OPTION: &str = "takeover";
pub(super) const TTL_OPTION: &str = "ttl";

/// The header, unless the service has set another.
pub(super) const DEFAULT_HEADER: &str = "Idempotency-Key";

/// The header that marks a replay.
pub(super) const MARKER: &str = "Idempotent-Replayed";

/// The media type of RFC 9457.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// The name of the problems' schema in a document's components.
pub(super) const PROBLEM_SCHEMA: &str = "IdempotencyProblem";

/// What a library reads of a description below. All of them are read in tests.
pub(super) fn read<T: DeserializeOwned>(description: Value) -> Option<T> {
    serde_json::from_value(description).ok()
}

/// The parameter that carries the key. `None` if the key is the value of an expression, so that no header carries it.
pub(super) fn key_parameter(policy: &Policy) -> Option<Value> {
    if policy.key_from == KeyFrom::Value {
        return None;
    }
    let (format, such_as) = match policy.key {
        KeyFormat::Any => (None, "such as a random UUID"),
        KeyFormat::Uuid => (Some("uuid"), "a UUID"),
        KeyFormat::UuidV7 => (Some("uuid"), "a UUID of version 7"),
        KeyFormat::Ulid => (None, "a ULID"),
    };
    let kept = kept_for(ttl(policy));
    let schema = match format {
        Some(format) => json!({ "type": "string", "format": format, "minLength": 1, "maxLength": MAX_KEY }),
        None => json!({ "type": "string", "minLength": 1, "maxLength": MAX_KEY }),
    };
    Some(json!({
        "in": "header",
        "name": policy.header.map_or_else(|| DEFAULT_HEADER.to_owned(), shown),
        "required": policy.required,
        "description": format!("New for each operation and the same for each retry of it, {such_as}. {kept}"),
        "schema": schema,
    }))
}

/// The header of a response that may be replayed.
pub(super) fn marker() -> Value {
    let means = "`true` if an earlier request with this key got this response. Absent on the first response.";
    json!({ "schema": { "type": "boolean" }, "description": means })
}

/// The response with one status: these problems.
pub(super) fn problem_response(status: u16, kinds: &[ProblemKind], schema: &Value) -> Value {
    let examples: Map<String, Value> = kinds.iter().map(|kind| (kind.slug().to_owned(), example(*kind))).collect();
    json!({
        "description": description(status),
        "headers": headers(status),
        "content": { PROBLEM_JSON: { "schema": schema, "examples": examples } },
    })
}

/// The members of a problem (RFC 9457, section 3.1). They are always present.
pub(super) fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "A problem of RFC 9457.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {
                "type": "string",
                "format": "uri",
                "description": "Identifies the kind of problem. It is the address of its documentation.",
            },
            "title": {
                "type": "string",
                "description": "The kind of problem in a few words. It is always the same for one kind.",
            },
            "status": { "type": "integer", "format": "int32", "description": "The status code." },
            "detail": { "type": "string", "description": "What the client can do." },
        },
    })
}

/// The sentence about the ttl in the description of the key.
pub(super) fn kept_for(ttl: Duration) -> String {
    format!("A retry gets the first response for {}.", in_words(ttl))
}

/// The attribute's ttl. The handler does not know its service, so without one it is the default of all services.
pub(super) fn ttl(policy: &Policy) -> Duration {
    policy.own_ttl().unwrap_or(Terms::DEFAULT.ttl)
}

/// What the attribute leaves to the service's builder, of what a document shows.
pub(super) fn set_by_service(policy: &Policy) -> Vec<&'static str> {
    let options = [
        (HEADER_OPTION, policy.header.is_none() && policy.key_from == KeyFrom::Header),
        (TAKEOVER_OPTION, policy.own_takeover().is_none()),
        (TTL_OPTION, policy.own_ttl().is_none()),
    ];
    options.into_iter().filter(|(_, left)| *left).map(|(option, _)| option).collect()
}

/// The problems that a handler with this policy may answer with, by status.
pub(super) fn problems(policy: &Policy) -> BTreeMap<u16, Vec<ProblemKind>> {
    let mut by_status = BTreeMap::<u16, Vec<ProblemKind>>::new();
    for kind in ProblemKind::ALL.into_iter().filter(|kind| can_come(*kind, policy)) {
        by_status.entry(kind.status().as_u16()).or_default().push(kind);
    }
    by_status
}

fn can_come(kind: ProblemKind, policy: &Policy) -> bool {
    let is_dated = matches!(policy.key, KeyFormat::UuidV7 | KeyFormat::Ulid);
    match kind {
        // It is also the answer to a misspelt header, even if no key is required.
        ProblemKind::KeyMissing => policy.required || policy.key_from == KeyFrom::Header,
        ProblemKind::KeyExpired => is_dated,
        // An old key never runs again, so its attempt that died is not taken over.
        ProblemKind::OutcomeUnknown => is_dated || policy.own_takeover() == Some(Takeover::Refuse),
        ProblemKind::RequestTooLarge | ProblemKind::RequestUnreadable => policy.fingerprint == FingerprintOf::Request,
        _ => true,
    }
}

/// The description of all problems with one status.
fn description(status: u16) -> &'static str {
    match status {
        400 => "The idempotency key is missing, not valid or too old, or the body could not be read.",
        409 => "The first request with this key is still running, or its outcome or response is not known.",
        413 => "The body is larger than the service accepts in a protected request.",
        422 => "The key was used for another request.",
        500 => "The record of this key cannot be read.",
        _ => "The service cannot tell whether the request was carried out. Send it again with the same key.",
    }
}

/// The headers of problems with this status: `Retry-After`, `Location`, or none.
fn headers(status: u16) -> Value {
    let retry_after = "The number of seconds after which to send the request again, with the same key.";
    let retry_after = json!({ "schema": { "type": "integer" }, "description": retry_after });
    let location = "Where the result is. Only if the response that was not stored had a `Location`.";
    let location = json!({ "schema": { "type": "string" }, "description": location });
    match status {
        409 => json!({ "Location": location, "Retry-After": retry_after }),
        503 => json!({ "Retry-After": retry_after }),
        _ => json!({}),
    }
}

/// An example of a problem. Its `detail` differs between occasions.
pub(super) fn example(kind: ProblemKind) -> Value {
    let value = json!({
        "type": format!("{DEFAULT_BASE}{}", kind.slug()),
        "title": kind.title(),
        "status": kind.status().as_u16(),
        "detail": "What the client can do.",
    });
    json!({ "summary": kind.title(), "value": value })
}

/// Whether a response that a document lists under `code` (`201`, `2XX` or `default`) may be replayed.
pub(super) fn may_be_replayed(code: &str, policy: &Policy) -> bool {
    let is_stored =
        |status| StatusCode::from_u16(status).is_ok_and(|status| ReplayRule::of_status(policy, status).stores());
    match code.parse() {
        Ok(status) => is_stored(status),
        Err(_) => match code.as_bytes() {
            [class @ b'1'..=b'5', b'X' | b'x', b'X' | b'x'] => {
                let class = u16::from(class - b'0') * 100;
                (class..class + 100).any(is_stored)
            }
            _ => true,
        },
    }
}

/// `PT24H`: ISO 8601, section 5.5.2.
pub(super) fn iso_8601(time: Duration) -> String {
    let parts = parts(time).into_iter().map(|(number, [letter, _])| number + letter);
    parts.fold("PT".to_owned(), |text, part| text + &part)
}

/// `24 h`.
fn in_words(time: Duration) -> String {
    let parts = parts(time).into_iter().map(|(number, [_, unit])| format!("{number} {unit}"));
    parts.collect::<Vec<_>>().join(" ")
}

/// The hours, minutes and seconds that are not zero, each with its ISO 8601 letter and its symbol.
fn parts(time: Duration) -> Vec<(String, [&'static str; 2])> {
    let seconds = time.as_secs();
    let whole = [(seconds / 3600, ["H", "h"]), (seconds / 60 % 60, ["M", "min"])];
    let mut parts: Vec<_> =
        whole.into_iter().filter(|(number, _)| *number > 0).map(|(number, unit)| (number.to_string(), unit)).collect();
    let (rest, millis) = (seconds % 60, time.subsec_millis());
    if millis > 0 {
        parts.push((format!("{rest}.{millis:03}"), ["S", "s"]));
    } else if rest > 0 || parts.is_empty() {
        parts.push((rest.to_string(), ["S", "s"]));
    }
    parts
}
