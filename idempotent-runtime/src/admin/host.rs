//! Refuses requests by a name that is not the router's own.
//!
//! A page of another site may let its name resolve to this machine (DNS rebinding). The browser then takes the page and
//! this router for one origin, but it still sends the page's name in `Host`.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header, uri::Authority};

/// Whether a request was sent to an address, to `localhost`, or to one of the names. A request that names no host comes
/// from no browser.
pub(super) fn is_known(uri: &Uri, headers: &HeaderMap, names: &[String]) -> bool {
    let sent_to = match (uri.authority(), headers.get(header::HOST)) {
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(host)) => match Authority::try_from(host.as_bytes()) {
            Ok(authority) => Some(authority),
            Err(_) => return false,
        },
        (None, None) => None,
    };
    sent_to.is_none_or(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || names.iter().any(|name| name.eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(host: &str) -> bool {
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        is_known(&Uri::from_static("/lookup"), &headers, &["support.internal".to_owned()])
    }

    #[test]
    fn addresses_localhost_and_named_hosts_are_known_with_any_port() {
        for host in
            ["127.0.0.1:9090", "[::1]:9090", "10.1.2.3", "localhost:9090", "Support.Internal", "support.internal:9090"]
        {
            assert!(to(host), "{host}");
        }
    }

    #[test]
    fn another_name_is_refused_whatever_it_resolves_to() {
        for host in ["evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example", "a b", ""]
        {
            assert!(!to(host), "{host}");
        }
        let elsewhere = Uri::from_static("http://evil.example/lookup");
        assert!(!is_known(&elsewhere, &HeaderMap::new(), &[]));
    }
}
