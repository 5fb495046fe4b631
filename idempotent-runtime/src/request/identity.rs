//! What a request is called in the store, and which requests are the same one. Pure.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::{Fingerprint, StoreKey};

/// Parts of a store key that are longer than this are replaced by their hash, so that no path or scope can make a key
/// of any length. A key of 255 bytes fits even when each of them is escaped.
const MAX_PART: usize = 3 * crate::request::key::MAX_KEY;

/// What names a request: `{namespace}:{method}:{route}:{scope}:{key}`.
pub(crate) struct Name<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) method: &'a str,
    /// The matched path or, where there is none, the path itself.
    pub(crate) route: Route<'a>,
    pub(crate) scope: Option<&'a str>,
    pub(crate) key: &'a str,
}

/// Where a request came in.
#[derive(Clone, Copy)]
pub(crate) enum Route<'a> {
    /// A router's pattern, such as `/payments/{id}`.
    Matched(&'a str),
    /// The path of a request that no pattern matched, for example in a fallback.
    Path(&'a str),
}

impl Name<'_> {
    /// Joins the parts so that no two names collide, and without braces, which would choose a cluster's slot.
    pub(crate) fn join(&self) -> StoreKey {
        let mut joined = String::with_capacity(128);
        push(&mut joined, &escape(self.namespace));
        joined.push(':');
        push(&mut joined, &escape(self.method));
        joined.push(':');
        match self.route {
            Route::Matched(pattern) => push(&mut joined, &escape_pattern(pattern)),
            Route::Path(path) => push(&mut joined, &escape(path)),
        }
        joined.push(':');
        push(&mut joined, &self.scope.map(escape).unwrap_or_default());
        joined.push(':');
        push(&mut joined, &escape(self.key));
        StoreKey::new(joined)
    }
}

fn push(joined: &mut String, part: &str) {
    if part.len() <= MAX_PART {
        joined.push_str(part);
        return;
    }
    // `#` is never left by escaping, so a hash meets no part that is short.
    joined.push('#');
    joined.push_str(&hex(&Sha256::digest(part.as_bytes())));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Percent-encodes all but the unreserved characters of RFC 3986 and `/`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.bytes().for_each(|byte| push_escaped(&mut escaped, byte));
    escaped
}

fn push_escaped(escaped: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
        escaped.push(char::from(byte));
    } else {
        let _ = write!(escaped, "%{byte:02X}");
    }
}

/// Like [`escape`], with every `{name}` as `*` and every `{*rest}` as `**`: renaming a parameter is no new identity.
fn escape_pattern(pattern: &str) -> String {
    let mut escaped = String::with_capacity(pattern.len());
    let mut rest = pattern.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let doubled = tail.first() == Some(&byte);
        rest = tail;
        match byte {
            b'{' | b'}' if doubled => {
                push_escaped(&mut escaped, byte);
                rest = tail.get(1..).unwrap_or_default();
            }
            b'{' => {
                escaped.push_str(if tail.first() == Some(&b'*') { "**" } else { "*" });
                let end = tail.iter().position(|&byte| byte == b'}').map_or(tail.len(), |end| end + 1);
                rest = tail.get(end..).unwrap_or_default();
            }
            _ => push_escaped(&mut escaped, byte),
        }
    }
    escaped
}

/// What a request asks for: everything in which a retry must equal the first.
pub(crate) struct Content<'a> {
    pub(crate) name: &'a StoreKey,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    /// Who asks, where no scope says it: the lines of the credential headers, in order. `None` with a scope.
    pub(crate) credentials: Option<&'a [(&'a str, &'a [u8])]>,
    pub(crate) body: &'a [u8],
}

impl Content<'_> {
    /// Hashes all parts, each with its length before it, so that no two requests are joined to the same bytes.
    ///
    /// The name is among them: a record that somebody copied to another key is another request's.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new_with_prefix(b"idempotent fingerprint 1");
        add(&mut hash, self.name.as_str().as_bytes());
        add(&mut hash, self.method.as_bytes());
        add(&mut hash, self.path.as_bytes());
        hash.update([u8::from(self.query.is_some())]);
        add(&mut hash, self.query.unwrap_or_default().as_bytes());
        match self.credentials {
            None => hash.update([0]),
            Some(lines) => {
                hash.update([1]);
                hash.update(lines.len().to_be_bytes());
                for (name, value) in lines {
                    add(&mut hash, name.as_bytes());
                    add(&mut hash, value);
                }
            }
        }
        add(&mut hash, self.body);
        Fingerprint::from_bytes(hash.finalize().into())
    }
}

fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update(part.len().to_be_bytes());
    hash.update(part);
}

/// A UUID (version 8) that is the same for every attempt at a key, for one downstream purpose.
pub(crate) fn derive(base: &[u8], purpose: &str) -> Uuid {
    let mut hash = Sha256::new_with_prefix(b"idempotent derived key 1");
    add(&mut hash, base);
    add(&mut hash, purpose.as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(byte, hashed)| *byte = hashed);
    Uuid::new_v8(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name<'a>(route: &'a str, scope: Option<&'a str>, key: &'a str) -> Name<'a> {
        Name { namespace: "pay", method: "POST", route: Route::Matched(route), scope, key }
    }

    #[test]
    fn a_name_reads_as_documented() {
        assert_eq!(name("/payments", Some("alice"), "k-1").join().as_str(), "pay:POST:/payments:alice:k-1");
        assert_eq!(name("/payments", None, "k-1").join().as_str(), "pay:POST:/payments::k-1");
    }

    #[test]
    fn parameter_names_are_dropped_and_nothing_collides_with_a_parameter() {
        let by = |pattern| name(pattern, None, "k").join();
        assert_eq!(by("/a/{tenant}/p"), by("/a/{t}/p"));
        assert_eq!(by("/a/{tenant}/p").as_str(), "pay:POST:/a/*/p::k");
        assert_eq!(by("/a/{*rest}").as_str(), "pay:POST:/a/**::k");
        assert_ne!(by("/a/*"), by("/a/{x}"));
        assert_ne!(by("/a/{{x}}"), by("/a/{x}"));
        assert_eq!(by("/a/{{x}}").as_str(), "pay:POST:/a/%7Bx%7D::k");
        assert_eq!(by("/a/{id}.pdf").as_str(), "pay:POST:/a/*.pdf::k");
    }

    #[test]
    fn parts_that_contain_the_separator_do_not_collide() {
        assert_ne!(name("/p", Some("a:b"), "c").join(), name("/p", Some("a"), "b:c").join());
        assert_ne!(name("/p", Some("a%3A"), "c").join(), name("/p", Some("a:"), "c").join());
    }

    #[test]
    fn no_brace_is_left_to_choose_a_slot() {
        let joined = name("/a/{t}", Some("{s}"), "{k}").join();
        assert!(!joined.as_str().contains(['{', '}']), "{}", joined.as_str());
    }

    #[test]
    fn a_long_part_becomes_its_hash_and_stays_distinct() {
        let (a, b) = ("s".repeat(5_000), "s".repeat(5_001));
        let joined = name("/p", Some(&a), "k").join();
        assert!(joined.as_str().len() < 100);
        assert_ne!(joined, name("/p", Some(&b), "k").join());
    }

    #[test]
    fn every_part_of_a_request_changes_its_fingerprint() {
        let key = StoreKey::new("a");
        let other_key = StoreKey::new("b");
        let print = |name, method, path, query, credentials, body| {
            Content { name, method, path, query, credentials, body }.fingerprint()
        };
        let alice: &[(&str, &[u8])] = &[("authorization", b"alice")];
        let bob: &[(&str, &[u8])] = &[("authorization", b"bob")];
        let all = [
            print(&key, "POST", "/p", None, Some(alice), b"body"),
            print(&other_key, "POST", "/p", None, Some(alice), b"body"),
            print(&key, "PUT", "/p", None, Some(alice), b"body"),
            print(&key, "POST", "/q", None, Some(alice), b"body"),
            print(&key, "POST", "/p", Some(""), Some(alice), b"body"),
            print(&key, "POST", "/p", Some("x=1"), Some(alice), b"body"),
            print(&key, "POST", "/p", None, Some(bob), b"body"),
            print(&key, "POST", "/p", None, Some(&[]), b"body"),
            print(&key, "POST", "/p", None, None, b"body"),
            print(&key, "POST", "/p", None, Some(alice), b"Body"),
            print(&key, "POST", "/pbody", None, Some(alice), b""),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one), "fingerprint {index} is not alone");
        }
    }

    #[test]
    fn a_derived_key_is_stable_and_differs_by_purpose() {
        assert_eq!(derive(b"k", "stripe"), derive(b"k", "stripe"));
        assert_ne!(derive(b"k", "stripe"), derive(b"k", "mail"));
        assert_ne!(derive(b"k", "stripe"), derive(b"l", "stripe"));
        assert_eq!(derive(b"k", "stripe").get_version_num(), 8);
    }
}
