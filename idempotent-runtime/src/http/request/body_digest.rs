//! What is kept of a request's body for its fingerprint. Pure.

use bytes::{Bytes, BytesMut};

/// A body up to this length is part of the fingerprint as it is. A longer one is hashed first.
const SHORT: usize = 4 << 10;

/// The contribution of the body to the fingerprint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyDigest {
    Short(Bytes),
    Hashed { length: u64, hash: [u8; 32] },
}

impl Default for BodyDigest {
    fn default() -> Self {
        Self::Short(Bytes::new())
    }
}

/// A body that is being digested. A single short chunk, the common case, is not copied.
pub(super) enum Digesting {
    Short(Bytes),
    Joined(BytesMut),
    Long(Box<blake3::Hasher>),
}

impl Default for Digesting {
    fn default() -> Self {
        Self::Short(Bytes::new())
    }
}

impl Digesting {
    pub(super) fn add(&mut self, chunk: &Bytes) {
        let before: &[u8] = match self {
            Self::Long(hash) => {
                hash.update(chunk);
                return;
            }
            Self::Short(before) if before.is_empty() && chunk.len() <= SHORT => {
                *self = Self::Short(chunk.clone());
                return;
            }
            Self::Joined(before) if before.len() + chunk.len() <= SHORT => return before.extend_from_slice(chunk),
            Self::Short(before) => before,
            Self::Joined(before) => before,
        };
        *self = if before.len() + chunk.len() <= SHORT {
            let mut joined = BytesMut::with_capacity(SHORT);
            joined.extend_from_slice(before);
            joined.extend_from_slice(chunk);
            Self::Joined(joined)
        } else {
            let mut hash = Box::new(blake3::Hasher::new());
            hash.update(before).update(chunk);
            Self::Long(hash)
        };
    }

    pub(super) fn finish(self, length: u64) -> BodyDigest {
        match self {
            Self::Short(body) => BodyDigest::Short(body),
            Self::Joined(body) => BodyDigest::Short(body.freeze()),
            Self::Long(hash) => BodyDigest::Hashed { length, hash: *hash.finalize().as_bytes() },
        }
    }
}
