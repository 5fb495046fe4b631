//! The values of a handler's steps as bytes, as the store has them.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::parts::{push, push_number, take, take_number};

/// The first byte of saved steps. A later layout gets another value.
const VERSION: u8 = 1;

// After it come the number of steps, and of each its name, one of these numbers, and the value or the reason.
const TOO_LARGE: u64 = 0;
const KEPT: u64 = 1;
const UNWRITABLE: u64 = 2;

/// What is known of a step that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Its value, encoded.
    Kept(Bytes),
    /// The step ran, and its value was too large to be kept.
    TooLarge,
    /// The step ran, and its value cannot be written. The text says why.
    Unwritable(String),
}

/// One step, in the layout of all.
#[cfg(feature = "_sql")]
pub(crate) fn encode_one(name: &str, value: &Bytes) -> Bytes {
    encode(&BTreeMap::from([(name.to_owned(), Value::Kept(value.clone()))]))
}

/// The value that [`encode_one`] was given. `None` when the bytes are something else.
#[cfg(feature = "_sql")]
pub(crate) fn decode_one(encoded: &Bytes, name: &str) -> Option<Bytes> {
    match decode(encoded)?.remove(name)? {
        Value::Kept(value) => Some(value),
        Value::TooLarge | Value::Unwritable(_) => None,
    }
}

pub(super) fn cost(name: &str, value: &Value) -> usize {
    // Bytes for the lengths, and for whether there is a value.
    const OVERHEAD: usize = 8;
    let value = match value {
        Value::Kept(value) => value.len(),
        Value::TooLarge => 0,
        Value::Unwritable(reason) => reason.len(),
    };
    name.len() + value + OVERHEAD
}

pub(super) fn encode(values: &BTreeMap<String, Value>) -> Bytes {
    let mut out = vec![VERSION];
    push_number(&mut out, values.len() as u64);
    for (name, value) in values {
        push(&mut out, name.as_bytes());
        let (kind, content) = match value {
            Value::TooLarge => (TOO_LARGE, None),
            Value::Kept(value) => (KEPT, Some(&**value)),
            Value::Unwritable(reason) => (UNWRITABLE, Some(reason.as_bytes())),
        };
        push_number(&mut out, kind);
        if let Some(content) = content {
            push(&mut out, content);
        }
    }
    out.into()
}

/// `None` when the bytes were not written by [`encode`].
pub(super) fn decode(encoded: &Bytes) -> Option<BTreeMap<String, Value>> {
    let mut values = BTreeMap::new();
    if encoded.is_empty() {
        return Some(values);
    }
    let (&VERSION, mut rest) = encoded.split_first()? else { return None };
    let text = |part: &[u8]| str::from_utf8(part).ok().map(str::to_owned);
    for _ in 0..take_number(&mut rest)? {
        let name = text(take(&mut rest)?)?;
        let value = match take_number(&mut rest)? {
            TOO_LARGE => Value::TooLarge,
            KEPT => Value::Kept(encoded.slice_ref(take(&mut rest)?)),
            UNWRITABLE => Value::Unwritable(text(take(&mut rest)?)?),
            _ => return None,
        };
        values.insert(name, value);
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..50).prop_map(|value| Value::Kept(value.into())),
            Just(Value::TooLarge),
            ".{0,20}".prop_map(Value::Unwritable),
        ]
    }

    proptest! {
        #[test]
        fn steps_come_back_as_they_were(
            values in prop::collection::btree_map(".{0,20}", value(), 0..6),
        ) {
            prop_assert_eq!(decode(&encode(&values)), Some(values));
        }

        #[test]
        fn garbage_is_unreadable_or_steps_and_never_a_panic(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&garbage.into());
        }
    }

    #[test]
    fn a_step_costs_its_name_its_value_and_eight_bytes() {
        assert_eq!(cost("name", &Value::Kept(Bytes::from_static(b"value"))), 4 + 5 + 8);
        assert_eq!(cost("name", &Value::TooLarge), 4 + 8);
    }

    /// Written by a program that did not know of values that cannot be written.
    #[test]
    fn the_bytes_of_an_older_program_are_read() {
        let older = Bytes::from_static(b"\x01\x02\x01a\x01\x02v1\x01b\x00");
        let values = BTreeMap::from([
            ("a".to_owned(), Value::Kept(Bytes::from_static(b"v1"))),
            ("b".to_owned(), Value::TooLarge),
        ]);
        assert_eq!(decode(&older), Some(values.clone()));
        assert_eq!(encode(&values), older);
    }
}
