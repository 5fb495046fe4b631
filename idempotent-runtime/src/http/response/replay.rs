//! Decides which responses are stored and replayed, and which of their headers. Pure.

use std::convert::Infallible;

use axum::{
    http::{
        Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{CONNECTION, RETRY_AFTER},
    },
    response::{IntoResponseParts, ResponseParts},
};

use super::{exchange::is_never_replayed, grpc};
use crate::config::policy::{FingerprintOf, Policy, ReplayPolicy};

/// Overrides the attribute's `replay` option for one response. Put it into the response like a header.
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
    /// Store this response and replay it. Its status does not matter.
    Keep,
    /// Send this response, do not store it, and free the key.
    Discard,
}

impl IntoResponseParts for Replay {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

/// What decides whether a response is stored and replayed.
#[derive(Clone, Copy)]
pub(crate) struct ReplayRule {
    policy: ReplayPolicy,
    compared: FingerprintOf,
    status: StatusCode,
    /// Whether the response has a `Retry-After`.
    asks_to_retry: bool,
    /// The handler's own choice for this response, which takes precedence.
    override_: Option<Replay>,
}

impl ReplayRule {
    /// For a response with this head.
    pub(crate) fn new(policy: &Policy, status: StatusCode, headers: &HeaderMap, extensions: &Extensions) -> Self {
        Self {
            policy: policy.replay,
            compared: policy.fingerprint,
            status: grpc::http_status(headers).unwrap_or(status),
            asks_to_retry: headers.contains_key(RETRY_AFTER),
            override_: extensions.get().copied(),
        }
    }

    /// For a response of which only the status is known.
    #[cfg(any(test, feature = "utoipa", feature = "aide"))]
    pub(crate) fn of_status(policy: &Policy, status: StatusCode) -> Self {
        Self::new(policy, status, &HeaderMap::new(), &Extensions::new())
    }

    /// For the same response when its trailers have told another status.
    pub(crate) fn with_status(self, status: Option<StatusCode>) -> Self {
        Self { status: status.unwrap_or(self.status), ..self }
    }

    /// Whether the response is stored and replayed.
    pub(crate) fn stores(self) -> bool {
        let status = self.status;
        let success = || {
            let is_refusal = is_sent_on(status) || (status == StatusCode::NOT_MODIFIED && !self.compares(status));
            status.is_success() || (status.is_redirection() && !is_refusal)
        };
        match (self.override_, self.policy) {
            (Some(Replay::Keep), _) | (None, ReplayPolicy::All) => true,
            (Some(Replay::Discard), _) => false,
            (None, ReplayPolicy::Success) => success(),
            // A client error with `Retry-After` asks the client to try again, so it is not final.
            (None, ReplayPolicy::Final) => {
                let is_refusal = status.is_client_error() && is_final(status) && !self.asks_to_retry;
                success() || (is_refusal && self.compares(status))
            }
        }
    }

    /// Whether everything is compared that a refusal depends on. If not, a retry with another header or another body would
    /// get the refusal of the first request.
    fn compares(self, status: StatusCode) -> bool {
        self.compared == FingerprintOf::Request || !is_of_the_message(status)
    }
}

/// Redirects that ask the client to send the same request to another address. The request was not carried out here.
fn is_sent_on(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// Refusals that depend on what the request says: its preconditions, the content's type and coding, the query and the body,
/// and their size.
fn is_of_the_message(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_MODIFIED
            | StatusCode::BAD_REQUEST
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::URI_TOO_LONG
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

/// Client errors that would be the same for every try of the same request. `docs/contract.md` has the reason for each.
/// A test compares them.
fn is_final(status: StatusCode) -> bool {
    // These may be different later, or for another caller.
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
    // These depend on something that a retry may change: a header that is not compared, or the connection.
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
    // Nobody has registered these, and well-known servers send them: the session has ended, not now, another connection,
    // or the client has left.
    let unregistered = matches!(status.as_u16(), 419 | 420 | 430 | 440 | 444 | 449 | 460 | 463 | 464 | 494..=499);
    !(for_now || by_the_way || unregistered)
}

/// The headers of a response that are stored, in their order. Repeated headers are kept.
///
/// `never`: further headers that are not stored, by the service's settings.
pub(crate) fn replayable<'a>(
    headers: &'a HeaderMap,
    never: &'a [HeaderName],
) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
    let connection = headers.get_all(CONNECTION);
    // Most responses have no `Connection` header. Nothing is allocated for them.
    let named: Vec<&[u8]> = connection
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .collect();
    headers.iter().filter(move |(name, _)| {
        let hop = || named.iter().any(|hop| hop.eq_ignore_ascii_case(name.as_str().as_bytes()));
        !(is_never_replayed(name) || hop() || never.contains(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(policy: ReplayPolicy, code: u16) -> ReplayRule {
        let policy = Policy::new("create").replay(policy);
        ReplayRule::of_status(&policy, StatusCode::from_u16(code).unwrap())
    }

    fn stored(policy: ReplayPolicy) -> Vec<u16> {
        (200..600).filter(|&code| rule(policy, code).stores()).collect()
    }

    /// Refusals of no registered status that free the key.
    const UNREGISTERED: [u16; 15] = [419, 420, 430, 440, 444, 449, 460, 463, 464, 494, 495, 496, 497, 498, 499];

    #[test]
    fn each_policy_stores_the_responses_that_it_names() {
        let free = [307, 308];
        assert_eq!(stored(ReplayPolicy::Success), (200..400).filter(|code| !free.contains(code)).collect::<Vec<_>>());
        let free = [307, 308, 401, 403, 406, 407, 408, 411, 416, 417, 421, 423, 424, 425, 426, 428, 429, 431];
        let free = [&free[..], &UNREGISTERED].concat();
        assert_eq!(stored(ReplayPolicy::Final), (200..500).filter(|code| !free.contains(code)).collect::<Vec<_>>());
        assert_eq!(stored(ReplayPolicy::All).len(), 400);
        let asks_to_retry = |code| ReplayRule { asks_to_retry: true, ..rule(ReplayPolicy::Final, code) }.stores();
        assert!(!asks_to_retry(409) && asks_to_retry(202));
    }

    #[test]
    fn what_a_refusal_depends_on_must_be_compared() {
        let stores = |compared, policy, code| ReplayRule { compared, ..rule(policy, code) }.stores();
        let freed = |compared, policy| -> Vec<u16> {
            stored(policy).into_iter().filter(|&code| !stores(compared, policy, code)).collect()
        };
        for compared in [FingerprintOf::Value, FingerprintOf::KeyAlone] {
            assert_eq!(freed(compared, ReplayPolicy::Final), [304, 400, 412, 413, 414, 415, 422]);
            assert_eq!(freed(compared, ReplayPolicy::Success), [304]);
            assert_eq!(freed(compared, ReplayPolicy::All), [0; 0]);
        }
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
                let is_stored = rule(ReplayPolicy::Final, code).stores();
                assert_eq!(word, if is_stored { "replayed" } else { "frees" }, "{code}");
                said.push(code);
            }
        }
        said.sort_unstable();
        // All registered codes (IANA, 2025) except 1xx, which are not final responses.
        let registered = (200..=208)
            .chain([226])
            .chain(300..=305)
            .chain(307..=308)
            .chain(400..=417)
            .chain(421..=426)
            .chain([428, 429, 431, 451])
            .chain(500..=508)
            .chain([510, 511]);
        let mut expected: Vec<u16> = registered.chain(UNREGISTERED).collect();
        expected.sort_unstable();
        assert_eq!(said, expected);
    }

    #[test]
    fn the_attributes_documentation_has_the_same_numbers() {
        let page = include_str!("../../../../idempotent-macros/docs/idempotent.md");
        let section = page.split("\n## ").find(|section| section.starts_with("`replay = ")).unwrap();
        let numbers = |item: &str| -> Vec<u16> {
            let (_, item) = section.split_once(item).unwrap();
            let item = item.split("\n- ").next().unwrap();
            item.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(|word| word.parse().ok()).collect()
        };
        let freed = |policy, class: std::ops::Range<u16>| {
            let stored = stored(policy);
            class.filter(|code| !stored.contains(code)).collect::<Vec<_>>()
        };
        assert_eq!(numbers("- `\"success\"`"), freed(ReplayPolicy::Success, 200..400));
        assert_eq!(numbers("- `\"final\"`"), freed(ReplayPolicy::Final, 400..500));
        assert_eq!(freed(ReplayPolicy::Success, 200..400), freed(ReplayPolicy::Final, 200..400));
        assert!(freed(ReplayPolicy::All, 200..600).is_empty());
    }

    #[test]
    fn the_handlers_choice_goes_before_the_policy() {
        let with = |override_, policy, code| ReplayRule { override_: Some(override_), ..rule(policy, code) }.stores();
        assert!(with(Replay::Keep, ReplayPolicy::Success, 500));
        assert!(!with(Replay::Discard, ReplayPolicy::All, 201));
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
