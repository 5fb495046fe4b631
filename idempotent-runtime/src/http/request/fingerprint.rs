//! The fingerprint: a hash of everything that must be the same in a retry. Pure.

use axum::http::{
    HeaderMap, HeaderName, Uri,
    header::{
        CONTENT_ENCODING, CONTENT_TYPE, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE,
    },
};

use super::{body_digest::BodyDigest, digest::ValueDigest, media_type};
use crate::{
    config::settings::Settings,
    store::{Fingerprint, StoreKey},
};

/// If the meaning of the bytes below changes, this prefix must change too. Otherwise different requests could have
/// equal hashes.
const PREFIX: &[u8] = b"\x04";
const PREFIX_OF_VALUES: &[u8] = b"\x05";

/// Preconditions (RFC 9110, section 13.1). A request with another precondition is another request.
const PRECONDITIONS: [HeaderName; 5] = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE];

/// The parts of a request that are compared, as one sequence of bytes. Each part is preceded by its length, so that two
/// different requests never give the same bytes.
///
/// The bytes are gathered before the handler's arguments consume the request, and hashed together later.
pub(crate) struct ComparedParts {
    bytes: Vec<u8>,
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
        Self { path: bytes.len(), credentials: bytes.len(), bytes }
    }

    /// Gathers the parts from a request's head.
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap, settings: &Settings) -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(PREFIX);
        push(&mut bytes, uri.path().as_bytes());
        let path = bytes.len();
        match uri.query() {
            None => bytes.push(0),
            Some(query) => {
                bytes.push(1);
                push(&mut bytes, query.as_bytes());
            }
        }
        push_content_type(&mut bytes, headers);
        let others = || [CONTENT_ENCODING].into_iter().chain(PRECONDITIONS);
        // Most requests have none of these headers. One pass over the names shows it.
        let present = headers.keys().any(|name| others().any(|other| other == name));
        bytes.push(u8::from(present));
        if present {
            push_encoding(&mut bytes, headers);
            for name in &PRECONDITIONS {
                push_lines(&mut bytes, headers, name);
            }
        }
        for name in &settings.fingerprint_headers {
            push_lines(&mut bytes, headers, name);
        }
        let credentials = bytes.len();
        push_credentials(&mut bytes, headers, settings);
        Self { bytes, path, credentials }
    }

    /// The same parts for a handler with `operation = …`: in place of the path, the values of the parameters that the route's
    /// pattern has. So a route can be renamed. Without a pattern, the path is compared.
    ///
    /// The name in the store is part of each fingerprint, and that of an operation is never that of a route. So the bytes
    /// need no other prefix.
    pub(crate) fn of_operation(self, pattern: Option<&str>) -> Self {
        let Some(pattern) = pattern else { return self };
        let written = self.bytes.get(PREFIX.len()..self.path).unwrap_or_default();
        let length = written.iter().take_while(|byte| **byte > 0x7f).count() + 1;
        let path = String::from_utf8_lossy(written.get(length..).unwrap_or_default());
        let mut bytes = Vec::with_capacity(self.bytes.len());
        bytes.extend_from_slice(PREFIX);
        let values: Vec<_> = path_values(pattern, &path).collect();
        push_number(&mut bytes, values.len() as u64);
        for value in values {
            push(&mut bytes, value.as_bytes());
        }
        let end = bytes.len();
        bytes.extend(self.bytes.get(self.path..).into_iter().flatten());
        Self { bytes, path: end, credentials: self.credentials + end - self.path }
    }

    /// Whether credentials are compared, and the request has none of them.
    pub(crate) fn is_anonymous(&self) -> bool {
        // A header that is absent is a zero, and so is each byte of the length of no cookies.
        let credentials = self.bytes.get(self.credentials..).unwrap_or_default();
        !credentials.is_empty() && credentials.iter().all(|byte| *byte == 0)
    }

    /// The fingerprint, with the two parts that are known last: the body, and the name in the store. The name is
    /// included so that a record that somebody copies to another key does not match there.
    pub(crate) fn fingerprint(mut self, body: &BodyDigest, name: &StoreKey, scoped: bool) -> Fingerprint {
        if scoped {
            self.bytes.truncate(self.credentials);
        }
        self.bytes.push(u8::from(scoped));
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
}

impl ComparedParts {
    /// The fingerprint for a handler with `fingerprint = …`: `value` is compared instead of the query, the body and the
    /// headers. The path is compared too. Method and route are part of the name.
    ///
    /// The credentials are also compared, unless there is a scope, or only the key counts (`value` is `None`).
    pub(crate) fn fingerprint_of(&self, value: Option<&ValueDigest>, name: &StoreKey, scoped: bool) -> Fingerprint {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(PREFIX_OF_VALUES);
        bytes.extend(self.bytes.get(PREFIX.len()..self.path).into_iter().flatten());
        bytes.push(u8::from(scoped));
        bytes.push(u8::from(value.is_some()));
        if let Some(value) = value {
            bytes.extend_from_slice(value.as_bytes());
            if !scoped {
                bytes.extend(self.bytes.get(self.credentials..).into_iter().flatten());
            }
        }
        push(&mut bytes, name.as_str().as_bytes());
        Fingerprint::from_bytes(*blake3::hash(&bytes).as_bytes())
    }
}

/// The segments of a path at which its route's pattern has parameters: `7` for `/refunds/{id}` and `/refunds/7`. A parameter
/// `{*rest}` matches the rest of the path.
fn path_values<'a>(pattern: &'a str, path: &'a str) -> impl Iterator<Item = &'a str> {
    let mut rest = path;
    pattern.split('/').filter_map(move |part| {
        let (segment, behind) = rest.split_once('/').unwrap_or((rest, ""));
        let all = std::mem::replace(&mut rest, behind);
        if part.starts_with("{*") { Some(all) } else { part.replace("{{", "").contains('{').then_some(segment) }
    })
}

/// Appends a part, preceded by its length.
fn push(out: &mut Vec<u8>, part: &[u8]) {
    push_number(out, part.len() as u64);
    out.extend_from_slice(part);
}

/// Appends a number in seven bits a byte. The last byte is below 128.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(0x80 | (number.to_le_bytes()[0] & 0x7f));
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
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

/// Appends all lines of a header, joined by commas. A header in two lines equals the same header in one line (RFC 9110,
/// section 5.3).
fn push_lines(out: &mut Vec<u8>, headers: &HeaderMap, name: &HeaderName) {
    let mut lines = headers.get_all(name).iter().map(|line| line.as_bytes().trim_ascii());
    let Some(first) = lines.next() else { return out.push(0) };
    out.push(1);
    push_written(out, |part| {
        part.extend_from_slice(first);
        for line in lines {
            part.extend_from_slice(b", ");
            part.extend_from_slice(line);
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
        push_crumbs(out, headers, |crumb| {
            let name = crumb.split(|&byte| byte == b'=').next().unwrap_or_default();
            name.trim_ascii() == cookie.as_bytes()
        });
    }
}

/// Appends the cookies that count, in their order. It does not matter how they are spread over lines: HTTP/2 sends each
/// cookie in a line of its own (RFC 9113, section 8.2.3).
fn push_crumbs(out: &mut Vec<u8>, headers: &HeaderMap, counts: impl Fn(&[u8]) -> bool) {
    push_written(out, |part| {
        let lines = headers.get_all(COOKIE).iter();
        let crumbs = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';')).map(<[u8]>::trim_ascii);
        for crumb in crumbs.filter(|crumb| !crumb.is_empty() && counts(crumb)) {
            part.extend_from_slice(crumb);
            part.extend_from_slice(b"; ");
        }
    });
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

    fn print(uri: &str, lines: &[(&str, &str)], body: &[u8], name: &str, scoped: bool) -> Fingerprint {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let asked = ComparedParts::of(&uri.parse().unwrap(), &headers, service().settings());
        asked.fingerprint(&BodyDigest::Short(Bytes::copy_from_slice(body)), &StoreKey::new(name), scoped)
    }

    fn with(lines: &[(&str, &str)]) -> Fingerprint {
        print("/p", lines, BODY, "name", false)
    }

    #[test]
    fn an_operation_compares_the_values_of_the_path_and_not_its_fixed_parts() {
        let of = |pattern, uri: &str| {
            let asked = ComparedParts::of(&uri.parse().unwrap(), &HeaderMap::new(), service().settings());
            let body = BodyDigest::Short(Bytes::from_static(BODY));
            asked.of_operation(Some(pattern)).fingerprint(&body, &StoreKey::new("name"), false)
        };
        let first = of("/refunds/{id}", "/refunds/7");
        assert_eq!(first, of("/v2/refunds/{refund}", "/v2/refunds/7"));
        assert_ne!(first, of("/refunds/{id}", "/refunds/8"));
        assert_ne!(first, of("/refunds/{id}", "/refunds/7?dry=true"));
        assert_ne!(first, of("/refunds/{a}/{b}", "/refunds/7/7"));
        assert_eq!(of("/files/{*path}", "/files/a/b"), of("/{*path}", "/a/b"));
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
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one), "fingerprint {index} equals another one");
        }
        let hashed = |length, byte| {
            let asked = ComparedParts::of(&"/p".parse().unwrap(), &HeaderMap::new(), service().settings());
            asked.fingerprint(&BodyDigest::Hashed { length, hash: [byte; 32] }, &StoreKey::new("name"), false)
        };
        assert_ne!(hashed(5_000, 1), hashed(5_000, 2));
        assert_ne!(hashed(5_000, 1), hashed(5_001, 1));
    }

    #[test]
    fn what_means_the_same_has_one_fingerprint() {
        for (one, same) in [
            (&[("cookie", "session=a; theme=b")][..], &[("cookie", "theme=c"), ("cookie", "_ga=1;session=a")][..]),
            (&[("accept", "a, b")], &[("accept", "a"), ("accept", "b")]),
            (&[("content-encoding", "GZIP")], &[("content-encoding", "gzip")]),
            (&[("content-type", "Text/Plain; charset=UTF-8")], &[("content-type", "text/plain;charset=utf-8")]),
            (&[("x-request-id", "1")], &[("user-agent", "2")]),
        ] {
            assert_eq!(with(one), with(same), "{one:?} and {same:?}");
        }
        // With a scope, the caller is part of the name.
        let scoped = |lines| print("/p", lines, BODY, "name", true);
        assert_eq!(scoped(&[(AUTHORIZATION.as_str(), "alice")]), scoped(&[("cookie", "session=bob")]));
    }
}
