//! [`ValueDigest`]: a hash of the value of `fingerprint = EXPR`.

mod hashing;

use serde::Serialize;
use sha2::{Digest, Sha256};

use self::hashing::Hashing;
pub(crate) use self::hashing::NotSerializable;

/// The hash of a value that must be the same in a retry.
///
/// What serde tells apart has another digest: `None` and `Some(None)`, or numbers beyond 64 bits. The order of a map's
/// members does not count, and neither do the names of types and the widths of integers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ValueDigest([u8; 32]);

impl ValueDigest {
    /// # Errors
    /// The value's own `Serialize` fails.
    pub(crate) fn new(value: &(impl Serialize + ?Sized)) -> Result<Self, NotSerializable> {
        let mut hash = Sha256::new_with_prefix(b"idempotent value 2");
        value.serialize(Hashing(&mut hash))?;
        Ok(Self(hash.finalize().into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde::Serializer;
    use serde_json::json;

    use super::*;

    fn digest(value: &(impl Serialize + ?Sized)) -> ValueDigest {
        ValueDigest::new(value).unwrap()
    }

    /// The values, each as its own type.
    macro_rules! digests {
        ($($value:expr),+ $(,)?) => { [$((stringify!($value), digest(&$value))),+] };
    }

    #[derive(Serialize)]
    enum Shape {
        Unit,
        Newtype(u8),
        Tuple(u8, u8),
        Struct { a: u8 },
    }

    #[allow(clippy::option_option)] // it is what is tested
    #[derive(Serialize)]
    struct Pair {
        a: u8,
        b: Option<Option<u8>>,
    }

    /// The fields of [`Pair`], in another order and flattened.
    #[allow(clippy::option_option)] // as above
    #[derive(Serialize)]
    struct Flattened {
        b: Option<Option<u8>>,
        #[serde(flatten)]
        rest: HashMap<&'static str, u8>,
    }

    #[test]
    fn every_difference_of_two_values_shows() {
        let digests = digests![
            json!(null),
            json!(true),
            json!(false),
            json!(1),
            json!(-1),
            json!("1"),
            json!(1.0),
            json!([]),
            json!({}),
            json!([1]),
            json!([[1], 2]),
            json!([1, 2]),
            json!([1, [2]]),
            json!(["ab", "c"]),
            json!(["a", "bc"]),
            json!({"a": "b"}),
            json!(["a", "b"]),
            json!({"a": {"b": 1}}),
            json!({"a": {}, "b": 1}),
            None::<Option<u8>>,
            Some(None::<u8>),
            Some(Some(1_u8)),
            [None, Some(None), Some(Some(()))],
            [Some(None), None, Some(Some(()))],
            0.0_f64,
            -0.0_f64,
            f64::NAN,
            f64::INFINITY,
            u128::MAX,
            u128::MAX - 1,
            i128::MIN,
            i64::MIN,
            u64::MAX,
            Shape::Unit,
            Shape::Newtype(1),
            Shape::Tuple(1, 1),
            Shape::Struct { a: 1 },
            "Unit",
            HashMap::from([((1, 2), 3)]),
            HashMap::from([((1, 3), 2)]),
            HashMap::from([(12, 3)]),
            HashMap::from([("12", 3)]),
        ];
        for (at, (name, one)) in digests.iter().enumerate() {
            // `json!(null)` is a unit, as `()` is.
            assert!(digests[at + 1..].iter().all(|(_, other)| other != one), "{name}");
        }
    }

    #[test]
    fn what_means_the_same_has_one_digest() {
        assert!(digest(&1_u8) == digest(&1_i128) && digest(&-1_i8) == digest(&-1_i64));
        assert!(digest(&0.5_f32) == digest(&0.5_f64));
        assert!(digest(&f64::NAN) == digest(&-f64::NAN));
        assert!(digest(&[1, 2]) == digest(&(1, 2)) && digest(&vec![1, 2]) == digest(&[1, 2][..]));
        let pair = Pair { a: 1, b: Some(None) };
        assert!(digest(&pair) == digest(&Flattened { b: Some(None), rest: HashMap::from([("a", 1)]) }));
        assert!(digest(&pair) != digest(&Pair { a: 1, b: None }));
    }

    #[test]
    fn a_hash_map_has_one_digest_in_every_order() {
        let names: Vec<String> = (0..50).map(|number| format!("name-{number}")).collect();
        let forwards: HashMap<_, _> = names.iter().map(|name| (name, 1)).collect();
        let backwards: HashMap<_, _> = names.iter().rev().map(|name| (name, 1)).collect();
        let sorted: BTreeMap<_, _> = names.iter().map(|name| (name, 1)).collect();
        assert!(digest(&forwards) == digest(&backwards) && digest(&forwards) == digest(&sorted));
    }

    #[test]
    fn a_value_that_refuses_is_an_error() {
        struct Refusing;
        impl Serialize for Refusing {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("not today"))
            }
        }
        let refused = ValueDigest::new(&[Refusing]).err().map(|error| error.to_string());
        assert_eq!(refused.as_deref(), Some("the value cannot be serialized: not today"));
    }
}
