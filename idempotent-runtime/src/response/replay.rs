//! Which responses settle a key, and which of their headers are replayed. Pure.

use std::convert::Infallible;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONNECTION},
    response::{IntoResponseParts, ResponseParts},
};

use super::exchange::is_of_one_exchange;
use crate::config::policy::ReplayPolicy;

/// Marks a response that was not made by this request but by an earlier one with the same key.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Overrides, for one response, what the attribute's `replay` option says. Put it into the response like a header.
///
/// ```
/// use axum::{http::StatusCode, response::IntoResponse};
/// use idempotent_runtime::Replay;
///
/// async fn create() -> impl IntoResponse {
///     // Nothing has happened yet, so the client may try again with the same key.
///     (StatusCode::CONFLICT, Replay::Discard, "the account is being migrated, try again")
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Store this response and replay it, whatever its status.
    Keep,
    /// Send this response, store nothing and free the key.
    Discard,
}

impl IntoResponseParts for Replay {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

impl ReplayPolicy {
    /// Whether a response settles the key. The handler's own word goes before the policy.
    ///
    /// `pauses`: whether the response has a `Retry-After`.
    pub(crate) fn settles(self, status: StatusCode, pauses: bool, word: Option<Replay>) -> bool {
        let success = || status.is_success() || (status.is_redirection() && !is_sent_on(status));
        match (word, self) {
            (Some(Replay::Keep), _) | (None, Self::All) => true,
            (Some(Replay::Discard), _) => false,
            (None, Self::Success) => success(),
            // A client error that asks for another try is no final word.
            (None, Self::Final) => success() || (status.is_client_error() && is_final(status) && !pauses),
        }
    }
}

/// 3xx that send the request itself elsewhere, so that it was not carried out here.
fn is_sent_on(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// 4xx that say the same on every try of the same request. `docs/contract.md` has each with its reason; a test compares
/// them.
fn is_final(status: StatusCode) -> bool {
    // Not yet, or not by this caller.
    let for_now = matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::LOCKED
            | StatusCode::FAILED_DEPENDENCY
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
    );
    // It depends on something of the request that a retry need not repeat: a header that is not compared, or the connection.
    let by_the_way = matches!(
        status,
        StatusCode::NOT_ACCEPTABLE
            | StatusCode::LENGTH_REQUIRED
            | StatusCode::RANGE_NOT_SATISFIABLE
            | StatusCode::EXPECTATION_FAILED
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::UPGRADE_REQUIRED
            | StatusCode::PRECONDITION_REQUIRED
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    !for_now && !by_the_way
}

/// The headers of a response that are stored, in their order, repeated ones included.
///
/// `never`: what the service has added to the headers of one exchange.
pub(crate) fn replayable<'a>(
    headers: &'a HeaderMap,
    never: &'a [HeaderName],
) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
    let connection = headers.get_all(CONNECTION);
    // Rarely there at all; then nothing is allocated.
    let named: Vec<&[u8]> = connection
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .collect();
    headers.iter().filter(move |(name, _)| {
        let hop = || named.iter().any(|hop| hop.eq_ignore_ascii_case(name.as_str().as_bytes()));
        !(is_of_one_exchange(name) || hop() || never.contains(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(policy: ReplayPolicy) -> Vec<u16> {
        let settles = |&code: &u16| policy.settles(StatusCode::from_u16(code).unwrap(), false, None);
        (200..600).filter(settles).collect()
    }

    #[test]
    fn each_policy_settles_what_it_promises() {
        let free = [307, 308];
        assert_eq!(settled(ReplayPolicy::Success), (200..400).filter(|code| !free.contains(code)).collect::<Vec<_>>());
        let free = [307, 308, 401, 403, 406, 407, 408, 411, 416, 417, 421, 423, 424, 425, 426, 428, 429, 431];
        assert_eq!(settled(ReplayPolicy::Final), (200..500).filter(|code| !free.contains(code)).collect::<Vec<_>>());
        assert_eq!(settled(ReplayPolicy::All).len(), 400);
        assert!(!ReplayPolicy::Final.settles(StatusCode::CONFLICT, true, None));
        assert!(ReplayPolicy::Final.settles(StatusCode::ACCEPTED, true, None));
    }

    #[test]
    fn the_contract_says_the_same_of_every_status() {
        let contract = include_str!("../../../docs/contract.md");
        let section = contract.split("## Which answers are replayed").nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let mut said = Vec::new();
        for line in section.lines().filter(|line| line.starts_with("| ")) {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let (codes, word) = (cells.next().unwrap(), cells.next().unwrap());
            for code in codes.split_whitespace().filter_map(|code| code.parse::<u16>().ok()) {
                let settles = ReplayPolicy::Final.settles(StatusCode::from_u16(code).unwrap(), false, None);
                assert_eq!(word, if settles { "replayed" } else { "frees" }, "{code}");
                said.push(code);
            }
        }
        said.sort_unstable();
        // All that are registered (IANA, 2025), but for 1xx, which are no answers.
        let registered = (200..=208)
            .chain([226])
            .chain(300..=305)
            .chain(307..=308)
            .chain(400..=417)
            .chain(421..=426)
            .chain([428, 429, 431, 451])
            .chain(500..=508)
            .chain([510, 511]);
        assert_eq!(said, registered.collect::<Vec<u16>>());
    }

    #[test]
    fn the_handlers_word_goes_before_the_policy() {
        assert!(ReplayPolicy::Success.settles(StatusCode::INTERNAL_SERVER_ERROR, true, Some(Replay::Keep)));
        assert!(!ReplayPolicy::All.settles(StatusCode::CREATED, false, Some(Replay::Discard)));
    }

    #[test]
    fn repeated_headers_stay_and_those_of_one_exchange_go() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("link", "</1>"),
            ("set-cookie", "session=1"),
            ("link", "</2>"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("etag", "\"1\""),
            ("idempotent-replayed", "true"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let kept = |never: &[HeaderName]| -> Vec<String> {
            replayable(&headers, never).map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
        };
        assert_eq!(kept(&[]), ["link: </1>", "link: </2>", "etag: \"1\""]);
        assert_eq!(kept(&[HeaderName::from_static("link")]), ["etag: \"1\""]);
    }
}
