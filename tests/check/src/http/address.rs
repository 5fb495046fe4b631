//! A URL, as far as a request needs it.

use std::fmt;

/// An absolute `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) is_tls: bool,
    /// The host, without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query. It begins with `/`.
    pub(crate) path: String,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{url}` is not a URL that can be checked: {why}");
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("it has white space or characters that are not ASCII; encode them with %"));
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("write it with http:// or https://"))?;
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("write it with http:// or https://")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong("leave the user name out and give --auth 'Basic …'"));
        }
        let default = if is_tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong("the port is not a number below 65536"))?),
            None => (authority, default),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_tls, host: host.to_owned(), port, path })
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let default = if self.is_tls { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }

    /// Whether the service is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        let is_loopback = self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        is_loopback || self.host == "localhost" || self.host.ends_with(".localhost")
    }

    /// The same service with another path.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        Self { path: format!("/{}", path.trim_start_matches('/')), ..self.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_written() {
        for (url, written) in [
            ("http://127.0.0.1:3000/payments", "http://127.0.0.1:3000/payments"),
            ("http://localhost", "http://localhost/"),
            ("https://pay.example:443/a?b=c#d", "https://pay.example/a?b=c"),
            ("http://[::1]:80/x", "http://[::1]/x"),
            ("http://[::1]:81?y", "http://[::1]:81/?y"),
        ] {
            assert_eq!(Address::parse(url).unwrap().to_string(), written);
        }
        for url in ["127.0.0.1:3000", "ftp://a/", "http://", "http://a:99999/", "http://u:p@a/", "http://a/ b"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn only_a_loopback_address_is_local() {
        let is_local = |url| Address::parse(url).unwrap().is_local();
        assert!(is_local("http://127.0.0.2/") && is_local("http://[::1]/") && is_local("http://localhost:1/"));
        assert!(!is_local("http://10.0.0.1/") && !is_local("https://127.example/"));
    }
}
