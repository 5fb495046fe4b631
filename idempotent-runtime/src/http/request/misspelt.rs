//! Finds headers that were probably meant to carry the key: old names, and names with a spelling mistake. Pure.

use axum::http::{HeaderMap, HeaderName};

/// Longer header names are not examined. No name that people write by hand is longer.
const LONGEST: usize = 48;

/// The first header that was probably meant to carry the key. Only called when no key was found.
///
/// Names are compared without case, and by their letters and digits only. A name is reported if it contains `idempot`
/// and not `replay`, which response headers contain. It is also reported if it is the key header's own name, with or
/// without a leading `x`, with at most one spelling mistake in seven letters.
pub(crate) fn find(headers: &HeaderMap, right: &HeaderName) -> Option<HeaderName> {
    let right = letters(right);
    let plain = |name: &[u8]| name.strip_prefix(b"x").unwrap_or(name).to_vec();
    headers
        .keys()
        .find(|name| {
            let name = letters(name);
            if name.len() > LONGEST {
                return false;
            }
            let meant = contains(&name, b"idempot") && !contains(&name, b"replay");
            let (name, right) = (plain(&name), plain(&right));
            meant || distance(&name, &right) <= right.len() / 7 || distance(&name, b"idempotencykey") <= 2
        })
        .cloned()
}

fn letters(name: &HeaderName) -> Vec<u8> {
    name.as_str().bytes().filter(u8::is_ascii_alphanumeric).collect()
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// The edit distance: how many letters must be inserted, removed or replaced to turn one into the other.
fn distance(one: &[u8], other: &[u8]) -> usize {
    if one.len().abs_diff(other.len()) > LONGEST / 7 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.iter().enumerate() {
        let (mut corner, mut left) = (index, index + 1);
        let mut next = vec![left];
        for (above, theirs) in row.iter().skip(1).zip(other) {
            left = (left + 1).min(above + 1).min(corner + usize::from(letter != theirs));
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &'static str, right: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), "k".parse().unwrap());
        find(&headers, &HeaderName::from_static(right)).is_some()
    }

    #[test]
    fn old_names_and_slips_are_seen() {
        for name in [
            "x-idempotency-key",
            "idempotence-key",
            "idempotency_key",
            "idempotent-key",
            "idempotencykey",
            "idempotency-token",
            "x-idempotent-key",
            "request-idempotency-key",
            "idempotency-id",
            "idempotency",
            "idem-potency-key",
            "idemptency-key",
            "indempotency-key",
            "idempodency-key",
            "idempotancy-key",
        ] {
            assert!(found(name, "idempotency-key"), "{name}");
        }
        assert!(found("webhookid", "webhook-id") && found("x-webhook-id", "webhook-id"));
        assert!(
            found("idempotency-key", "webhook-id"),
            "the standard name is also reported if the service uses another one"
        );
    }

    #[test]
    fn other_headers_are_left_alone() {
        for name in [
            "authorization",
            "content-type",
            "x-api-key",
            "x-request-id",
            "x-correlation-id",
            "idempotent-replayed",
            "x-idempotency-replay",
            "sec-websocket-key",
            "accept",
            "if-match",
        ] {
            assert!(!found(name, "idempotency-key"), "{name}");
        }
        assert!(!found("x-request-id", "webhook-id") && !found("x-ip", "x-id"));
    }

    #[test]
    fn the_distance_counts_slips() {
        assert_eq!(distance(b"idempotencykey", b"idempotencykey"), 0);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b""), 3);
    }
}
