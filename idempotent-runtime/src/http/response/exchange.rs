//! The response headers that belong to one exchange and are therefore never replayed. Pure.
//!
//! `docs/contract.md` has the same lists with the reasons. A test compares them.

use std::sync::LazyLock;

use axum::http::HeaderName;

use crate::http::header_names::HeaderNames;

/// Sessions and tokens that were given to one client.
const SESSIONS: &[&str] = &[
    "set-cookie",
    "set-cookie2",
    "set-login",
    "csrf-token",
    "x-csrf-token",
    "x-xsrf-token",
    "replay-nonce",
    "dpop-nonce",
    "sec-session-challenge",
    "sec-session-registration",
    "secure-session-challenge",
    "secure-session-registration",
];

/// Authentication: what asks for it, or its result (RFC 9110, section 11; RFC 7615; RFC 8053).
const AUTHENTICATION: &[&str] = &[
    "authentication-control",
    "authentication-info",
    "authorization",
    "hobareg",
    "optional-www-authenticate",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "www-authenticate",
];

/// Headers of one connection (RFC 9110, section 7.6.1). Those that `Connection` names are added to them. `Trailer` is
/// not in the list, because the trailers that it announces are replayed too.
const CONNECTIONS: &[&str] =
    &["alt-svc", "connection", "keep-alive", "meter", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// Reports of caches and proxies about the message that passed through them (RFC 9110, section 7.6.3; RFC 9111, section
/// 5; RFC 9209; RFC 9211), and the server that it came from.
const INTERMEDIARIES: &[&str] = &[
    "age",
    "cache-status",
    "cdn-cache-status",
    "cf-cache-status",
    "proxy-status",
    "via",
    "warning",
    "x-cache",
    "x-cache-hits",
    "x-cache-lookup",
    "x-cache-status",
    "x-proxy-cache",
    "x-served-by",
    "x-varnish",
];

/// When the response was made, and how long that took.
const TIMES: &[&str] = &["date", "server-timing", "x-process-time", "x-response-time", "x-runtime", "x-timer"];

/// The rest of the caller's quota.
const QUOTAS: &[&str] = &["rate-limit", "ratelimit", "x-rate-limit", "x-ratelimit"];

/// Identifiers of the exchange, for logs and traces.
const TRACES: &[&str] = &[
    "akamai-grn",
    "apigw-requestid",
    "b3",
    "baggage",
    "cdn-requestid",
    "cf-ray",
    "correlation-id",
    "elastic-apm-traceparent",
    "fly-request-id",
    "newrelic",
    "request-id",
    "rndr-id",
    "sentry-trace",
    "sw8",
    "sw8-correlation",
    "sw8-x",
    "trace-id",
    "traceparent",
    "traceresponse",
    "tracestate",
    "uber-trace-id",
    "x-amz-apigw-id",
    "x-amz-cf-id",
    "x-amz-cf-pop",
    "x-amz-id-2",
    "x-amz-request-id",
    "x-amzn-requestid",
    "x-amzn-trace-id",
    "x-azure-ref",
    "x-cloud-trace-context",
    "x-correlation-id",
    "x-debug-token",
    "x-debug-token-link",
    "x-fastly-request-id",
    "x-github-request-id",
    "x-goog-request-id",
    "x-guploader-uploadid",
    "x-ms-client-request-id",
    "x-ms-correlation-request-id",
    "x-ms-request-id",
    "x-msedge-ref",
    "x-nf-request-id",
    "x-request-id",
    "x-trace-id",
    "x-vercel-id",
];

/// A signature may cover the date and the request (RFC 9421). It cannot be verified in another exchange.
const SIGNATURES: &[&str] = &["accept-signature", "signature", "signature-input"];

/// Headers by which this crate and others mark a replay. Only the service that sends a response knows whether it is a
/// replay.
const MARKER: &[&str] = &[
    "idempotency-replayed",
    "idempotency-status",
    "idempotent-replay",
    "idempotent-replayed",
    "x-idempotency-cache",
    "x-idempotency-replayed",
    "x-idempotent-replayed",
];

/// Name prefixes.
const PREFIXES: &[&str] = &[
    "ot-tracer-",
    "rate-limit-",
    "ratelimit-",
    "uberctx-",
    "x-b3-",
    "x-datadog-",
    "x-envoy-",
    "x-instana-",
    "x-kong-",
    "x-ms-ratelimit-",
    "x-newrelic-",
    "x-rate-limit-",
    "x-ratelimit-",
];

const ALL: [&[&str]; 9] =
    [SESSIONS, AUTHENTICATION, CONNECTIONS, INTERMEDIARIES, TIMES, QUOTAS, TRACES, SIGNATURES, MARKER];

static NAMES: LazyLock<HeaderNames> = LazyLock::new(|| HeaderNames::new(&ALL));

/// Whether a header belongs to one exchange, so that it is never replayed. The header `Connection` and the service's
/// settings may name more.
pub(super) fn is_never_replayed(name: &HeaderName) -> bool {
    let name = name.as_str();
    NAMES.contains(name)
        || (matches!(name.as_bytes().first(), Some(b'o' | b'r' | b'u' | b'x'))
            && PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_lists_is_found_and_no_other() {
        for name in ALL.into_iter().flatten() {
            assert!(is_never_replayed(&HeaderName::from_static(name)), "{name}");
        }
        for name in [
            "rate-limit-reset",
            "x-ms-ratelimit-remaining-requests",
            "ot-tracer-spanid",
            "x-kong-proxy-latency",
            "x-ratelimit-remaining",
            "x-b3-traceid",
            "ratelimit-policy",
            "uberctx-user",
            "x-datadog-trace-id",
        ] {
            assert!(is_never_replayed(&HeaderName::from_static(name)), "{name}");
        }
        for name in [
            "location",
            "etag",
            "content-type",
            "content-length",
            "retry-after",
            "cache-control",
            "expires",
            "vary",
            "link",
            "trailer",
            "x-api-version",
            "strict-transport-security",
            "nel",
            "report-to",
            "refresh",
        ] {
            assert!(!is_never_replayed(&HeaderName::from_static(name)), "{name}");
        }
    }

    #[test]
    fn the_contract_lists_the_same_names() {
        let contract = include_str!("../../../docs/contract.md").to_ascii_lowercase();
        let section = contract.split("## which headers are replayed").nth(1).unwrap_or_default();
        for name in ALL.into_iter().flatten() {
            assert!(section.contains(&format!("`{name}`")), "docs/contract.md does not name {name}");
        }
        for prefix in PREFIXES {
            assert!(section.contains(&format!("`{prefix}*`")), "docs/contract.md does not name {prefix}*");
        }
    }
}
