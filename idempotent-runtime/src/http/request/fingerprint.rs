//! The fingerprint: a hash of everything that must be the same in a retry. Pure.

use axum::http::{
    HeaderMap, HeaderName, Uri,
    header::{CONTENT_ENCODING, CONTENT_TYPE, COOKIE},
};

use super::{
    body_digest::BodyDigest, digest::ValueDigest, meaning::has_meaning, media_type, quoted, route::RequestRoute,
};
use crate::{
    config::settings::Settings,
    parts::{push, push_number},
    store::{Fingerprint, StoreKey},
};

/// If the meaning of the bytes below changes, this prefix must change too. Otherwise different requests could have
/// equal hashes.
const PREFIX: &[u8] = b"\x06";
const PREFIX_OF_VALUES: &[u8] = b"\x07";

/// The parts of a request that are compared, as one sequence of bytes. Each part is preceded by its length, so that two
/// different requests never give the same bytes.
///
/// The bytes are gathered before the handler's arguments consume the request, and hashed together later.
pub(crate) struct ComparedParts {
    bytes: Vec<u8>,
    /// The position where the values of the path's parameters end, and the path begins.
    values: usize,
    /// The position where the path ends.
    path: usize,
    /// The position where the credentials begin. They are left out if a scope tells callers apart.
    credentials: usize,
}

impl ComparedParts {
    /// The parts of an operation that is no request. They are those of a handler with `operation = …` and a route without
    /// parameters, so that both can have the same fingerprint.
    pub(crate) fn of_operation_alone() -> Self {
        let bytes = [PREFIX, &[0]].concat();
        Self { values: bytes.len(), path: bytes.len(), credentials: bytes.len(), bytes }
    }

    /// Gathers the parts from a request's head.
    ///
    /// The handler can read the original URI, the current one, and the values of the path. An outer service may have
    /// written the last two, for example by the host's name. So all count.
    pub(crate) fn new(
        [original, current]: [&Uri; 2],
        route: &RequestRoute,
        headers: &HeaderMap,
        settings: &Settings,
    ) -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(PREFIX);
        push_number(&mut bytes, route.values().count() as u64);
        route.values().for_each(|value| push(&mut bytes, value.as_bytes()));
        let values = bytes.len();
        push(&mut bytes, original.path().as_bytes());
        let is_known = original == current || (route.is_matched() && is_tail(current, original));
        let rewritten = (!is_known).then_some(current);
        bytes.push(u8::from(rewritten.is_some()));
        if let Some(current) = rewritten {
            push(&mut bytes, current.path().as_bytes());
            let authority = current.authority().filter(|authority| original.authority() != Some(authority));
            push(&mut bytes, authority.map_or("", |authority| authority.as_str()).as_bytes());
        }
        let path = bytes.len();
        push_query(&mut bytes, original.query());
        if let Some(current) = rewritten {
            push_query(&mut bytes, current.query());
        }
        push_content_type(&mut bytes, headers);
        push_headers_with_meaning(&mut bytes, headers);
        push_named_headers(&mut bytes, headers, settings);
        let credentials = bytes.len();
        push_credentials(&mut bytes, headers, settings);
        Self { bytes, values, path, credentials }
    }

    /// The same parts for a handler with `operation = …`: of the path, only the values of its parameters. So a route can be
    /// renamed.
    ///
    /// The name in the store is part of each fingerprint, and that of an operation is never that of a route. So the bytes
    /// need no other prefix.
    pub(crate) fn of_operation(mut self) -> Self {
        let path = self.path.saturating_sub(self.values);
        self.bytes.drain(self.values..self.path);
        Self { path: self.values, credentials: self.credentials - path, ..self }
    }

    /// Whether credentials are compared, and the request has none of them.
    pub(crate) fn is_anonymous(&self) -> bool {
        // A header that is absent is a zero, and so is each byte of the length of no cookies.
        let credentials = self.bytes.get(self.credentials..).unwrap_or_default();
        !credentials.is_empty() && credentials.iter().all(|byte| *byte == 0)
    }

    /// The fingerprint, with the two parts that are known last: the body, and the name in the store. The name is
    /// included so that a record that somebody copies to another key does not match there.
    ///
    /// `by_credentials`: whether the credentials are compared, because no scope tells callers apart.
    pub(crate) fn fingerprint(mut self, body: &BodyDigest, name: &StoreKey, by_credentials: bool) -> Fingerprint {
        if !by_credentials {
            self.bytes.truncate(self.credentials);
        }
        self.bytes.push(u8::from(by_credentials));
        match body {
            BodyDigest::Short(body) => {
                self.bytes.push(0);
                push(&mut self.bytes, body);
            }
            BodyDigest::Hashed { length, hash } => {
                self.bytes.push(1);
                push_number(&mut self.bytes, *length);
                self.bytes.extend_from_slice(hash);
            }
        }
        push(&mut self.bytes, name.as_str().as_bytes());
        Fingerprint::from_bytes(*blake3::hash(&self.bytes).as_bytes())
    }

    /// The fingerprint for a handler with `fingerprint = …`: `value` is compared instead of the query, the body and the
    /// headers. The path is compared too. Method and route are part of the name.
    pub(crate) fn fingerprint_of(
        &self,
        value: Option<&ValueDigest>,
        name: &StoreKey,
        by_credentials: bool,
    ) -> Fingerprint {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(PREFIX_OF_VALUES);
        bytes.extend(self.bytes.get(PREFIX.len()..self.path).into_iter().flatten());
        bytes.push(u8::from(by_credentials));
        bytes.push(u8::from(value.is_some()));
        if let Some(value) = value {
            bytes.extend_from_slice(value.as_bytes());
        }
        if by_credentials {
            bytes.extend(self.bytes.get(self.credentials..).into_iter().flatten());
        }
        push(&mut bytes, name.as_str().as_bytes());
        Fingerprint::from_bytes(*blake3::hash(&bytes).as_bytes())
    }
}

/// Whether a URI is another one without the beginning of its path, as a nested router makes it. It then says nothing new.
fn is_tail(tail: &Uri, whole: &Uri) -> bool {
    whole.path().ends_with(tail.path()) && whole.query() == tail.query() && whole.authority() == tail.authority()
}

/// Appends a part that is written in place. Space for its length is left before it, and filled in afterwards.
fn push_written(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    write(out);
    let length = (out.len() - at - LENGTH) as u64;
    if let Some(place) = out.get_mut(at..at + LENGTH) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// Bytes of a length that is filled in afterwards.
const LENGTH: usize = size_of::<u64>();

fn push_query(out: &mut Vec<u8>, query: Option<&str>) {
    match query {
        None => out.push(0),
        Some(query) => {
            out.push(1);
            push(out, query.as_bytes());
        }
    }
}

fn push_content_type(out: &mut Vec<u8>, headers: &HeaderMap) {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (first, second) = (lines.next(), lines.next());
    match (first, second) {
        (None, _) => out.push(0),
        (Some(line), None) => {
            out.push(1);
            push_written(out, |part| media_type::push_canonical(part, line.as_bytes()));
        }
        (Some(_), Some(_)) => {
            out.push(2);
            push_lines(out, headers, &CONTENT_TYPE);
        }
    }
}

/// The names of encodings are compared without case (RFC 9110, section 8.4.1).
fn push_encoding(out: &mut Vec<u8>, headers: &HeaderMap) {
    push_written(out, |part| {
        for line in headers.get_all(CONTENT_ENCODING) {
            for encoding in line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                part.extend(encoding.iter().map(u8::to_ascii_lowercase));
                part.push(b',');
            }
        }
    });
}

/// Appends the headers that say what the request means, in the order of their names.
fn push_headers_with_meaning(out: &mut Vec<u8>, headers: &HeaderMap) {
    let mut present: Vec<&HeaderName> = headers.keys().filter(|name| has_meaning(name)).collect();
    present.sort_unstable_by_key(|name| name.as_str());
    push_number(out, present.len() as u64);
    for name in present {
        push(out, name.as_str().as_bytes());
        if name == CONTENT_ENCODING {
            push_encoding(out, headers);
        } else {
            push_lines(out, headers, name);
        }
    }
}

/// Appends the headers that the service has named, except those that are compared anyway: here they would be compared byte
/// for byte, and above they are compared by what they mean.
fn push_named_headers(out: &mut Vec<u8>, headers: &HeaderMap, settings: &Settings) {
    for name in &settings.fingerprint_headers {
        if name == COOKIE {
            push_crumbs(out, headers, |_| true);
        } else if name != CONTENT_TYPE && !has_meaning(name) {
            push_lines(out, headers, name);
        }
    }
}

/// Appends all lines of a header, joined by commas. A header in two lines equals the same header in one line (RFC 9110,
/// section 5.3). White space around a comma does not count.
fn push_lines(out: &mut Vec<u8>, headers: &HeaderMap, name: &HeaderName) {
    let lines = headers.get_all(name);
    if lines.iter().next().is_none() {
        return out.push(0);
    }
    out.push(1);
    push_written(out, |part| {
        for (index, element) in lines.iter().flat_map(|line| quoted::split(line.as_bytes(), b',')).enumerate() {
            if index > 0 {
                part.push(b',');
            }
            part.extend_from_slice(element);
        }
    });
}

fn push_credentials(out: &mut Vec<u8>, headers: &HeaderMap, settings: &Settings) {
    for name in &settings.credentials {
        if name != COOKIE {
            push_lines(out, headers, name);
        } else if settings.credential_cookies.is_empty() {
            push_crumbs(out, headers, |_| true);
        }
    }
    for cookie in &settings.credential_cookies {
        push_crumbs(out, headers, |name| name == cookie.as_bytes());
    }
}

/// Appends the cookies that count, in the order of their names. It does not matter how they are spread over lines: HTTP/2
/// sends each cookie in its own line (RFC 9113, section 8.2.3). Cookies of one name stay in their order, because
/// servers read the first.
fn push_crumbs(out: &mut Vec<u8>, headers: &HeaderMap, counts: impl Fn(&[u8]) -> bool) {
    let lines = headers.get_all(COOKIE).iter();
    let crumbs = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';')).map(<[u8]>::trim_ascii);
    let mut crumbs: Vec<&[u8]> = crumbs.filter(|crumb| !crumb.is_empty() && counts(cookie_name(crumb))).collect();
    crumbs.sort_by_key(|crumb| cookie_name(crumb));
    push_written(out, |part| {
        for crumb in crumbs {
            part.extend_from_slice(crumb);
            part.extend_from_slice(b"; ");
        }
    });
}

fn cookie_name(crumb: &[u8]) -> &[u8] {
    crumb.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header::AUTHORIZATION};
    use bytes::Bytes;

    use super::*;
    use crate::{Idempotency, MemoryStore};

    const BODY: &[u8] = b"body";

    fn service() -> Idempotency {
        let builder = Idempotency::builder(MemoryStore::new()).credentials(["authorization", "x-tenant"]);
        builder.credential_cookie("session").fingerprint_headers(["accept"]).build()
    }

    fn parts(uris: [&str; 2], headers: &HeaderMap) -> ComparedParts {
        let [original, current] = uris.map(|uri| uri.parse().unwrap());
        ComparedParts::new([&original, &current], &RequestRoute::Path("/p".into()), headers, service().settings())
    }

    fn print(uri: &str, lines: &[(&str, &str)], body: &[u8], name: &str, scoped: bool) -> Fingerprint {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        parts([uri, uri], &headers).fingerprint(
            &BodyDigest::Short(Bytes::copy_from_slice(body)),
            &StoreKey::new(name),
            !scoped,
        )
    }

    fn with(lines: &[(&str, &str)]) -> Fingerprint {
        print("/p", lines, BODY, "name", false)
    }

    #[test]
    fn every_part_of_a_request_changes_its_fingerprint() {
        let all = [
            with(&[]),
            print("/q", &[], BODY, "name", false),
            print("/p?", &[], BODY, "name", false),
            print("/p?x=1", &[], BODY, "name", false),
            print("/p", &[], b"Body", "name", false),
            print("/p", &[], BODY, "another", false),
            print("/p", &[], BODY, "name", true),
            print("/pbody", &[], b"", "name", false),
            with(&[("authorization", "alice")]),
            with(&[("authorization", "bob")]),
            with(&[("x-tenant", "alice")]),
            with(&[("cookie", "session=a")]),
            with(&[("accept", "text/plain")]),
            with(&[("content-type", "text/plain")]),
            with(&[("content-type", "text/plain"), ("content-type", "text/plain")]),
            with(&[("content-encoding", "gzip")]),
            with(&[("if-match", "1")]),
            with(&[("if-none-match", "1")]),
            with(&[("if-modified-since", "1")]),
            with(&[("if-unmodified-since", "1")]),
            with(&[("if-range", "1")]),
            with(&[("content-range", "bytes 0-1/2")]),
            with(&[("upload-offset", "1")]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one), "fingerprint {index} equals another one");
        }
        let hashed = |length, byte| {
            let hashed = BodyDigest::Hashed { length, hash: [byte; 32] };
            parts(["/p", "/p"], &HeaderMap::new()).fingerprint(&hashed, &StoreKey::new("name"), true)
        };
        assert_ne!(hashed(5_000, 1), hashed(5_000, 2));
        assert_ne!(hashed(5_000, 1), hashed(5_001, 1));
    }

    #[test]
    fn what_an_outer_service_has_written_into_the_uri_counts() {
        let uris = [
            ["/p", "/p"],
            ["/a/p", "/p"],
            ["/p", "/a/p"],
            ["/p", "/b/p"],
            ["/p", "/p?a"],
            ["/p", "/p?b"],
            ["/p", "http://a/p"],
            ["/a/p", "/a/p"],
        ];
        let fingerprint =
            |uris| parts(uris, &HeaderMap::new()).fingerprint(&BodyDigest::default(), &StoreKey::new("name"), true);
        for (at, one) in uris.iter().enumerate() {
            assert!(uris[at + 1..].iter().all(|other| fingerprint(*other) != fingerprint(*one)), "{one:?}");
        }
    }

    #[test]
    fn what_means_the_same_has_one_fingerprint() {
        for (one, same) in [
            (&[("cookie", "session=a; theme=b")][..], &[("cookie", "theme=c"), ("cookie", "_ga=1;session=a")][..]),
            (&[("cookie", "session=a; session=b")], &[("cookie", "x=y; session=a;session=b")]),
            (&[("accept", "a, b")], &[("accept", "a"), ("accept", "b")]),
            (&[("accept", "a,b")], &[("accept", "a\t , b")]),
            (&[("content-type", "application/json")], &[("content-type", "application/json; charset=utf-8")]),
            (&[("content-encoding", "GZIP")], &[("content-encoding", "gzip")]),
            (&[("content-type", "Text/Plain; charset=UTF-8")], &[("content-type", "text/plain;charset=utf-8")]),
            (&[("x-request-id", "1")], &[("user-agent", "2")]),
        ] {
            assert_eq!(with(one), with(same), "{one:?} and {same:?}");
        }
        assert_ne!(with(&[("cookie", "session=a; session=b")]), with(&[("cookie", "session=b; session=a")]));
        // With a scope, the caller is part of the name.
        let scoped = |lines| print("/p", lines, BODY, "name", true);
        assert_eq!(scoped(&[(AUTHORIZATION.as_str(), "alice")]), scoped(&[("cookie", "session=bob")]));
    }
}
