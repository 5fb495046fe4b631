//! Which responses settle a key, and which of their headers are replayed. Pure.

use std::convert::Infallible;

use axum::{
    http::{
        HeaderMap, HeaderName, StatusCode,
        header::{
            AUTHORIZATION, CONNECTION, DATE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE,
            TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
        },
    },
    response::{IntoResponseParts, ResponseParts},
};

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
    pub(crate) fn settles(self, status: StatusCode, word: Option<Replay>) -> bool {
        match (word, self) {
            (Some(Replay::Keep), _) | (None, Self::All) => true,
            (Some(Replay::Discard), _) => false,
            (None, Self::Success) => status.is_success() || status.is_redirection(),
            (None, Self::Final) => {
                status.is_success() || status.is_redirection() || (status.is_client_error() && is_final(status))
            }
        }
    }
}

/// 4xx that say the same on every try; the others may turn out otherwise after a login, a pause or a grant.
fn is_final(status: StatusCode) -> bool {
    !matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
    )
}

/// Headers that belong to one exchange and not to the response, beside those that `Connection` names.
///
/// A session (`Set-Cookie`) or a challenge may be for whom it was made only; hop-by-hop fields are RFC 9110, section
/// 7.6.1 (not `Trailer`: the trailers that it announces are replayed as well); a date, a trace and a request id are
/// each exchange's own.
const NEVER_REPLAYED: [HeaderName; 21] = [
    SET_COOKIE,
    DATE,
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    WWW_AUTHENTICATE,
    AUTHORIZATION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("authentication-info"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static("x-amzn-trace-id"),
    REPLAYED,
];

/// The headers of a response that are stored, in their order, repeated ones included.
pub(crate) fn replayable(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    headers
        .iter()
        .filter(move |(name, _)| !NEVER_REPLAYED.contains(name) && !named.iter().any(|hop| hop == name.as_str()))
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(policy: ReplayPolicy) -> Vec<u16> {
        let all = [200, 201, 204, 301, 303, 400, 401, 402, 403, 404, 408, 409, 410, 422, 425, 429, 500, 503];
        all.into_iter().filter(|&code| policy.settles(StatusCode::from_u16(code).unwrap(), None)).collect()
    }

    #[test]
    fn each_policy_settles_what_it_promises() {
        assert_eq!(settled(ReplayPolicy::Success), [200, 201, 204, 301, 303]);
        assert_eq!(settled(ReplayPolicy::Final), [200, 201, 204, 301, 303, 400, 402, 404, 409, 410, 422]);
        assert_eq!(settled(ReplayPolicy::All).len(), 18);
    }

    #[test]
    fn the_handlers_word_goes_before_the_policy() {
        assert!(ReplayPolicy::Success.settles(StatusCode::INTERNAL_SERVER_ERROR, Some(Replay::Keep)));
        assert!(!ReplayPolicy::All.settles(StatusCode::CREATED, Some(Replay::Discard)));
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
        let kept: Vec<_> = replayable(&headers).collect();
        assert_eq!(kept, [("link", &b"</1>"[..]), ("link", b"</2>"), ("etag", b"\"1\"")]);
    }
}
