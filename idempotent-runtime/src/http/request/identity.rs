//! The name of a request in the store. Pure.

use axum::extract::RawPathParams;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::StoreKey;

/// A part of a name that is longer than this is replaced by its hash, so that the length of names is bounded. A
/// client's key of 255 bytes is never replaced, even when each of its bytes is escaped.
const MAX_PART: usize = 3 * crate::http::request::key::MAX_KEY;

/// The parts of a name: `{namespace}:{method}:{route}:{scope}:{key}`, or `{namespace}::{operation}:{scope}:{key}`.
pub(crate) struct Name<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) method: &'a str,
    /// The matched path. Where there is none, the path of the request.
    pub(crate) route: Route<'a>,
    /// A blank scope is none.
    pub(crate) scope: Option<&'a str>,
    pub(crate) key: &'a str,
}

/// The route of a request.
#[derive(Clone, Copy)]
pub(crate) enum Route<'a> {
    /// A router's pattern, such as `/payments/{id}`.
    Matched(&'a str),
    /// A router's pattern with the values of its parameters. Each path has its own keys.
    Filled(&'a str, &'a RawPathParams),
    /// The path of a request that no pattern matched, for example in a fallback.
    Path(&'a str),
    /// An operation. Method and route then have no effect on the name. The values of the path's parameters are part of it if
    /// each path has its own keys.
    Operation(&'a str, Option<&'a RawPathParams>),
}

impl Name<'_> {
    /// Joins the parts. Different parts never give the same name, except that `%20` in a pattern or an operation is a space,
    /// as in a path. There are no braces in it, because braces would choose the slot in a Redis Cluster.
    pub(crate) fn join(&self) -> StoreKey {
        let mut name = String::with_capacity(128);
        push(&mut name, |name| escape(name, self.namespace));
        name.push(':');
        // No method is empty, so the name of an operation is never that of a route.
        if !matches!(self.route, Route::Operation(..)) {
            push(&mut name, |name| escape(name, self.method));
        }
        name.push(':');
        push(&mut name, |name| match self.route {
            Route::Matched(pattern) => escape_pattern(name, pattern, []),
            Route::Filled(pattern, values) => escape_pattern(name, pattern, values.iter().map(|(_, value)| value)),
            Route::Path(path) => escape(name, path),
            Route::Operation(operation, values) => {
                escape_written(name, operation);
                for (_, value) in values.into_iter().flatten() {
                    name.push('/');
                    escape_value(name, value);
                }
            }
        });
        name.push(':');
        if let Some(scope) = self.scope.filter(|scope| names_somebody(scope)) {
            push(&mut name, |name| escape(name, scope));
        }
        name.push(':');
        push(&mut name, |name| escape(name, self.key));
        StoreKey::new(name)
    }
}

/// Whether a scope says whose key it is. A blank one does not: guests of a service often have an empty id.
pub(crate) fn names_somebody(scope: &str) -> bool {
    !scope.trim().is_empty()
}

/// Writes a part, or its hash if it is too long.
fn push(name: &mut String, write: impl FnOnce(&mut String)) {
    let start = name.len();
    write(name);
    if name.len() - start <= MAX_PART {
        return;
    }
    let hash = Sha256::digest(name.get(start..).unwrap_or_default());
    name.truncate(start);
    // Escaping removes every `#`, so a hash never equals a part that was not hashed.
    name.push('#');
    for byte in hash {
        push_hex(name, byte, b"0123456789abcdef");
    }
}

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

fn push_hex(name: &mut String, byte: u8, digits: &[u8; 16]) {
    for digit in [byte >> 4, byte & 0xf] {
        name.push(digits.get(usize::from(digit)).copied().map_or('0', char::from));
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986 and `/`.
fn escape(name: &mut String, text: &str) {
    // Most parts have nothing to escape. To look at every byte, and not only at those before the first escape, lets the
    // compiler compare sixteen at once.
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        name.push_str(text);
    } else {
        text.bytes().for_each(|byte| push_escaped(name, byte));
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-'..=b'/' | b'_' | b'~')
}

fn push_escaped(name: &mut String, byte: u8) {
    if is_plain(byte) {
        name.push(char::from(byte));
    } else {
        name.push('%');
        push_hex(name, byte, DIGITS);
    }
}

/// Like [`escape`], but a slash in it is escaped too: the value `x/y` of one parameter is not two values.
fn escape_value(name: &mut String, value: &str) {
    for (index, part) in value.split('/').enumerate() {
        if index > 0 {
            name.push_str("%2F");
        }
        escape(name, part);
    }
}

/// Like [`escape`], for a text in which some characters may be escaped already, such as the path of a request.
fn escape_written(name: &mut String, text: &str) {
    if !text.contains('%') {
        return escape(name, text);
    }
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = push_written(name, byte, tail);
    }
}

/// Writes a byte, or what `%` and the two digits after it stand for. Returns the rest.
fn push_written<'a>(name: &mut String, byte: u8, tail: &'a [u8]) -> &'a [u8] {
    if let (b'%', Some((digits, rest))) = (byte, tail.split_first_chunk::<2>())
        && let Some(escaped) = from_hex(*digits).filter(|byte| *byte == b'/' || !is_plain(*byte))
    {
        name.push('%');
        push_hex(name, escaped, DIGITS);
        return rest;
    }
    push_escaped(name, byte);
    tail
}

fn from_hex(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? << 4 | low?).ok()
}

/// Like [`escape_written`], but writes the next value for every `{name}` and `{*rest}`. Without values it writes `*` and
/// `**`, so renaming a route's parameter does not change the name.
fn escape_pattern<'a>(name: &mut String, pattern: &str, values: impl IntoIterator<Item = &'a str>) {
    let mut values = values.into_iter();
    if !pattern.contains(['{', '}', '%']) {
        return escape(name, pattern);
    }
    let mut rest = pattern.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let doubled = tail.first() == Some(&byte);
        rest = match byte {
            b'{' | b'}' if doubled => {
                push_escaped(name, byte);
                tail.get(1..).unwrap_or_default()
            }
            b'{' => {
                match values.next() {
                    Some(rest) if tail.first() == Some(&b'*') => escape(name, rest),
                    Some(value) => escape_value(name, value),
                    None => name.push_str(if tail.first() == Some(&b'*') { "**" } else { "*" }),
                }
                let end = tail.iter().position(|&byte| byte == b'}').map_or(tail.len(), |end| end + 1);
                tail.get(end..).unwrap_or_default()
            }
            _ => push_written(name, byte, tail),
        };
    }
}

fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

/// A UUID (version 8) that is the same for every attempt at a key, and differs for each purpose.
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
    fn an_operation_stands_in_place_of_method_and_route() {
        let of = |method, route| Name { namespace: "pay", method, route, scope: None, key: "k" }.join();
        let named = of("POST", Route::Operation("refunds.create", None));
        assert_eq!(named.as_str(), "pay::refunds.create::k");
        assert_eq!(named, of("PUT", Route::Operation("refunds.create", None)));
        assert_ne!(named, of("POST", Route::Path("refunds.create")));
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
    fn a_blank_scope_is_no_scope() {
        let none = name("/p", None, "k").join();
        assert!(["", " ", "\t"].iter().all(|blank| name("/p", Some(blank), "k").join() == none));
        assert_ne!(name("/p", Some("_"), "k").join(), none);
    }

    #[test]
    fn the_values_of_a_path_stand_in_the_name_as_the_path_has_them() {
        let fill = |pattern, values: &[&str]| {
            let mut name = String::new();
            escape_pattern(&mut name, pattern, values.iter().copied());
            name
        };
        assert_eq!(fill("/hooks/{provider}", &["stripe"]), "/hooks/stripe");
        assert_eq!(fill("/{a}/x/{*rest}", &["1", "2/3"]), "/1/x/2/3");
        // No value is taken for a parameter, or for two.
        assert_eq!(fill("/{a}/{b}", &["*"]), "/%2A/*");
        assert_eq!(fill("/{a}", &["1/2"]), "/1%2F2");
        assert_eq!(fill("/{a}", &["%2F"]), "/%252F");
        // A path as it was sent has the same name.
        for (path, pattern, value) in [
            ("/hooks/a%20b", "/hooks/{a}", "a b"),
            ("/hooks/sch%c3%bcssel", "/hooks/{a}", "sch\u{fc}ssel"),
            ("/hooks/1%2F2", "/hooks/{a}", "1/2"),
            ("/hooks/1/2", "/hooks/{*rest}", "1/2"),
            ("/hooks/%257Bx", "/hooks/{a}", "%7Bx"),
            ("/hooks/%7Bx%7D", "/hooks/{a}", "{x}"),
            ("/hooks/100%", "/hooks/{a}", "100%"),
            ("/hooks/%zz%", "/hooks/{a}", "%zz%"),
        ] {
            assert_eq!(fill(path, &[]), fill(pattern, &[value]), "{path}");
        }
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
    fn a_derived_key_is_stable_and_differs_by_purpose() {
        assert_eq!(derive(b"k", "stripe"), derive(b"k", "stripe"));
        assert_ne!(derive(b"k", "stripe"), derive(b"k", "mail"));
        assert_ne!(derive(b"k", "stripe"), derive(b"l", "stripe"));
        assert_eq!(derive(b"k", "stripe").get_version_num(), 8);
    }
}
