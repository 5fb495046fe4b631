//! [`ValueDigest`]: a hash of the value of `fingerprint = EXPR`.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The hash of a value that must be the same in a retry.
///
/// Two values have the same digest if and only if they are the same JSON. The order of an object's members does not
/// count, so a hash map works as well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ValueDigest([u8; 32]);

impl ValueDigest {
    /// # Errors
    /// The value cannot be written as JSON. For example, it is a map whose keys are not strings.
    pub(crate) fn of(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        let value = serde_json::to_value(value)?;
        let mut hash = Sha256::new_with_prefix(b"idempotent value 1");
        add(&mut hash, &value);
        Ok(Self(hash.finalize().into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Each part is preceded by its kind and its length, so that two different values never give the same bytes.
///
/// This recursion is as deep as the value. A value that is too deep for the stack would have overflowed it earlier, in
/// its own `Serialize`.
fn add(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Null => hash.update(b"z"),
        Value::Bool(flag) => hash.update(if *flag { b"t" } else { b"f" }),
        Value::Number(number) => add_text(hash, *b"n", &number.to_string()),
        Value::String(text) => add_text(hash, *b"s", text),
        Value::Array(elements) => {
            add_length(hash, *b"a", elements.len());
            for element in elements {
                add(hash, element);
            }
        }
        Value::Object(members) => {
            add_length(hash, *b"o", members.len());
            // Sorted here, because another crate may have switched on the `serde_json` feature that keeps the members'
            // order.
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            for (name, member) in sorted {
                add_text(hash, *b"s", name);
                add(hash, member);
            }
        }
    }
}

fn add_length(hash: &mut Sha256, kind: [u8; 1], length: usize) {
    hash.update(kind);
    hash.update(length.to_be_bytes());
}

fn add_text(hash: &mut Sha256, kind: [u8; 1], text: &str) {
    add_length(hash, kind, text.len());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;

    fn digest(value: &(impl Serialize + ?Sized)) -> ValueDigest {
        ValueDigest::of(value).unwrap()
    }

    #[test]
    fn every_difference_of_two_values_shows() {
        let values = [
            json!(null),
            json!(true),
            json!(false),
            json!(1),
            json!("1"),
            json!([]),
            json!({}),
            json!([1]),
            json!([[1], 2]),
            json!([1, 2]),
            json!(["ab", "c"]),
            json!(["a", "bc"]),
            json!({"a": "b"}),
            json!(["a", "b"]),
            json!({"a": {"b": 1}}),
            json!({"a": {}, "b": 1}),
        ];
        for (at, one) in values.iter().enumerate() {
            assert!(values[at + 1..].iter().all(|other| digest(one) != digest(other)), "{one}");
        }
    }

    #[test]
    fn a_hash_map_has_one_digest_whatever_its_order() {
        let names: Vec<String> = (0..50).map(|number| format!("name-{number}")).collect();
        let forwards: HashMap<_, _> = names.iter().map(|name| (name, 1)).collect();
        let backwards: HashMap<_, _> = names.iter().rev().map(|name| (name, 1)).collect();
        assert!(digest(&forwards) == digest(&backwards));
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        assert!(ValueDigest::of(&HashMap::from([((1, 2), 3)])).is_err());
    }
}
