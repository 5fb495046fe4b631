//! A serializer that hashes the value which it is given. Pure.

use std::fmt::Display;

use serde::ser::{self, Serialize};
use sha2::{Digest, Sha256};

/// The value's own `Serialize` refused.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be serialized: {0}")]
pub(crate) struct NotSerializable(String);

impl ser::Error for NotSerializable {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Hashed = Result<(), NotSerializable>;

/// Hashes one value. Each value begins with a byte for its kind, and shows where it ends. So two different values never
/// give the same bytes.
///
/// This recursion is as deep as the value. A value that is too deep for the stack would have overflowed it earlier, in
/// its own `Serialize`.
pub(super) struct Hashing<'a>(pub(super) &'a mut Sha256);

impl<'a> Hashing<'a> {
    #[expect(clippy::unnecessary_wraps, reason = "serde's functions end with it")]
    fn add(self, kind: u8, bytes: &[u8]) -> Hashed {
        self.0.update([kind]);
        self.0.update(bytes);
        Ok(())
    }

    fn add_text(self, kind: u8, bytes: &[u8]) -> &'a mut Sha256 {
        self.0.update([kind]);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self.0
    }

    /// A variant with content. What follows is the content.
    fn variant(self, name: &str) -> Self {
        Self(self.add_text(b'w', name.as_bytes()))
    }

    fn elements(self) -> Elements<'a> {
        self.0.update(b"[");
        Elements(self.0)
    }

    fn members(self) -> Members<'a> {
        Members { hash: self.0, member: Sha256::new(), hashes: Vec::new() }
    }
}

/// The type of an integer does not count, so that it can be changed.
macro_rules! integers {
    ($wide:ident: $($function:ident $type:ty),+) => {
        $(fn $function(self, value: $type) -> Hashed {
            self.$wide(value.into())
        })+
    };
}

impl<'a> ser::Serializer for Hashing<'a> {
    type Ok = ();
    type Error = NotSerializable;
    type SerializeSeq = Elements<'a>;
    type SerializeTuple = Elements<'a>;
    type SerializeTupleStruct = Elements<'a>;
    type SerializeTupleVariant = Elements<'a>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Members<'a>;

    integers!(serialize_i128: serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64);
    integers!(serialize_u128: serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64);

    fn serialize_i128(self, value: i128) -> Hashed {
        match u128::try_from(value) {
            Ok(value) => self.serialize_u128(value),
            Err(_) => self.add(b'i', &value.to_be_bytes()),
        }
    }

    fn serialize_u128(self, value: u128) -> Hashed {
        self.add(b'u', &value.to_be_bytes())
    }

    fn serialize_bool(self, value: bool) -> Hashed {
        self.add(b'b', &[u8::from(value)])
    }

    fn serialize_f32(self, value: f32) -> Hashed {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Hashed {
        // There are many bits that are no number. They count as one.
        let value = if value.is_nan() { f64::NAN } else { value };
        self.add(b'f', &value.to_bits().to_be_bytes())
    }

    fn serialize_char(self, value: char) -> Hashed {
        self.add(b'c', &u32::from(value).to_be_bytes())
    }

    fn serialize_str(self, value: &str) -> Hashed {
        self.add_text(b's', value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Hashed {
        self.add_text(b'x', value);
        Ok(())
    }

    fn serialize_none(self) -> Hashed {
        self.add(b'n', &[])
    }

    /// Unlike in JSON, `Some(None)` is not `None`.
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Hashed {
        self.0.update(b"o");
        value.serialize(self)
    }

    fn serialize_unit(self) -> Hashed {
        self.add(b'z', &[])
    }

    fn serialize_unit_struct(self, _: &'static str) -> Hashed {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Hashed {
        self.add_text(b'v', variant.as_bytes());
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Hashed {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Hashed {
        value.serialize(self.variant(variant))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements<'a>, NotSerializable> {
        Ok(self.elements())
    }

    fn serialize_tuple(self, _: usize) -> Result<Elements<'a>, NotSerializable> {
        Ok(self.elements())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Elements<'a>, NotSerializable> {
        Ok(self.elements())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Elements<'a>, NotSerializable> {
        Ok(self.variant(variant).elements())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a>, NotSerializable> {
        Ok(self.members())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, NotSerializable> {
        Ok(self.members())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'a>, NotSerializable> {
        Ok(self.variant(variant).members())
    }
}

/// The elements of a list or a tuple, in their order.
pub(super) struct Elements<'a>(&'a mut Sha256);

macro_rules! elements {
    ($($part:ident $function:ident),+) => {
        $(impl ser::$part for Elements<'_> {
            type Ok = ();
            type Error = NotSerializable;

            fn $function<T: Serialize + ?Sized>(&mut self, value: &T) -> Hashed {
                value.serialize(Hashing(self.0))
            }

            fn end(self) -> Hashed {
                self.0.update(b"]");
                Ok(())
            }
        })+
    };
}

elements!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

/// The members of a map or a struct. Each is hashed by itself, and the hashes are sorted, so the order does not count.
pub(super) struct Members<'a> {
    hash: &'a mut Sha256,
    /// A key whose value is still to come.
    member: Sha256,
    hashes: Vec<[u8; 32]>,
}

impl Members<'_> {
    fn add_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Hashed {
        key.serialize(Hashing(&mut self.member))
    }

    fn add_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Hashed {
        value.serialize(Hashing(&mut self.member))?;
        self.hashes.push(self.member.finalize_reset().into());
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "serde's functions end with it")]
    fn finish(mut self) -> Hashed {
        self.hashes.sort_unstable();
        self.hash.update(b"{");
        self.hash.update((self.hashes.len() as u64).to_be_bytes());
        self.hashes.iter().for_each(|hash| self.hash.update(hash));
        Ok(())
    }
}

impl ser::SerializeMap for Members<'_> {
    type Ok = ();
    type Error = NotSerializable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Hashed {
        self.add_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Hashed {
        self.add_value(value)
    }

    fn end(self) -> Hashed {
        self.finish()
    }
}

macro_rules! fields {
    ($($part:ident),+) => {
        $(impl ser::$part for Members<'_> {
            type Ok = ();
            type Error = NotSerializable;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Hashed {
                self.add_key(name)?;
                self.add_value(value)
            }

            fn end(self) -> Hashed {
                self.finish()
            }
        })+
    };
}

fields!(SerializeStruct, SerializeStructVariant);
