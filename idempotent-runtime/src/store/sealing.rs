//! Encrypts records and steps for a store or a journal, and decrypts them. Pure.
//!
//! A sealed record is one version byte, the id of its key, a random nonce of 24 bytes, and the ciphertext with its tag
//! of 16 bytes (XChaCha20-Poly1305). The key's name in the store, the fingerprint and the purpose are authenticated
//! with it. So a record that was moved to another key cannot be decrypted, and neither can steps that are presented as
//! a record.

use std::fmt;

use bytes::Bytes;
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, KeyInit, Payload},
};

use super::{Fingerprint, StoreKey};

/// The first byte of everything that is sealed. Unsealed records and steps begin with other bytes.
const VERSION: u8 = 0x80;

const NONCE: usize = 24;

/// The keys that encrypt records and steps, for [`IdempotencyBuilder::encrypt`](crate::IdempotencyBuilder::encrypt).
/// The first key encrypts. All keys decrypt.
///
/// ```
/// use idempotent_runtime::EncryptionKeys;
///
/// # let (new_key, old_key) = ([2; 32], [1; 32]);
/// let keys = EncryptionKeys::new([(2, new_key), (1, old_key)]);
/// ```
///
/// To rotate keys: 1. Deploy the new key *after* the old one, so that every process can decrypt with it. 2. Deploy the
/// new key as the first one. 3. Remove the old key when the longest `ttl` has passed.
#[derive(Clone)]
pub struct EncryptionKeys {
    first: Key,
    others: Vec<Key>,
    accept_unsealed: bool,
}

#[derive(Clone)]
struct Key {
    id: u8,
    cipher: XChaCha20Poly1305,
}

/// Prints only the ids of the keys.
impl fmt::Debug for EncryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u8> = self.others.iter().map(|key| key.id).collect();
        f.debug_struct("EncryptionKeys").field("first", &self.first.id).field("others", &ids).finish_non_exhaustive()
    }
}

/// What a sealed value is used for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Record,
    Steps,
}

/// Why a value could not be encrypted or decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("the operating system returned no random bytes")]
    Random,
    #[error("it is too large to be encrypted")]
    Size,
    #[error("it is not encrypted, and the service accepts only encrypted records")]
    NotSealed,
    #[error("it is encrypted by key {0}, which this service does not have")]
    UnknownKey(u8),
    #[error("it cannot be decrypted: it was changed, cut off, or belongs to another key or request")]
    Forged,
}

impl EncryptionKeys {
    /// Takes pairs of an id and a key of 32 random bytes. The id is stored unencrypted in every record. Never give the
    /// id of an old key to a new one.
    ///
    /// # Panics
    /// If there is no key, or two keys have the same id. This happens at start-up.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = (u8, [u8; 32])>) -> Self {
        let mut keys = keys.into_iter().map(|(id, key)| Key { id, cipher: XChaCha20Poly1305::new(&key.into()) });
        #[allow(clippy::expect_used)] // at start-up, as documented
        let first = keys.next().expect("`EncryptionKeys` takes at least one key");
        let mut all = Self { first, others: Vec::new(), accept_unsealed: false };
        for key in keys {
            assert!(all.key(key.id).is_none(), "two keys in `EncryptionKeys` have the id {}", key.id);
            all.others.push(key);
        }
        all
    }

    /// Accepts records that are not encrypted as well. Default: they are unreadable, and their retries get 500
    /// `record-unreadable`.
    ///
    /// For a service that stored records without encryption before: set it, and remove it when the longest `ttl` has
    /// passed. While it is set, anybody who can write to the store can put a response of their own there.
    #[must_use]
    pub fn accept_unsealed(mut self) -> Self {
        self.accept_unsealed = true;
        self
    }

    pub(crate) fn seal(
        &self,
        purpose: Purpose,
        key: &StoreKey,
        fingerprint: &Fingerprint,
        plain: &[u8],
    ) -> Result<Bytes, SealError> {
        let nonce = XNonce::try_generate().map_err(|_| SealError::Random)?;
        self.seal_with(&nonce, purpose, key, fingerprint, plain)
    }

    fn seal_with(
        &self,
        nonce: &XNonce,
        purpose: Purpose,
        key: &StoreKey,
        fingerprint: &Fingerprint,
        plain: &[u8],
    ) -> Result<Bytes, SealError> {
        let Key { id, cipher } = &self.first;
        let associated = associated(purpose, *id, key, fingerprint);
        let payload = Payload { msg: plain, aad: &associated };
        let encrypted = cipher.encrypt(nonce, payload).map_err(|_| SealError::Size)?;
        let mut sealed = Vec::with_capacity(2 + NONCE + encrypted.len());
        sealed.extend([VERSION, *id]);
        sealed.extend(nonce.iter());
        sealed.extend(encrypted);
        Ok(sealed.into())
    }

    pub(crate) fn open(
        &self,
        purpose: Purpose,
        key: &StoreKey,
        fingerprint: &Fingerprint,
        sealed: &Bytes,
    ) -> Result<Bytes, SealError> {
        let Some((&VERSION, rest)) = sealed.split_first() else {
            return if self.accept_unsealed { Ok(sealed.clone()) } else { Err(SealError::NotSealed) };
        };
        let (&id, rest) = rest.split_first().ok_or(SealError::Forged)?;
        let (nonce, encrypted) = rest.split_at_checked(NONCE).ok_or(SealError::Forged)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| SealError::Forged)?;
        let Key { cipher, .. } = self.key(id).ok_or(SealError::UnknownKey(id))?;
        let associated = associated(purpose, id, key, fingerprint);
        let payload = Payload { msg: encrypted, aad: &associated };
        cipher.decrypt(&nonce, payload).map(Bytes::from).map_err(|_| SealError::Forged)
    }

    fn key(&self, id: u8) -> Option<&Key> {
        [&self.first].into_iter().chain(&self.others).find(|key| key.id == id)
    }
}

/// The data that is authenticated and not encrypted. The fingerprint has a fixed length, so different data never give
/// the same bytes.
fn associated(purpose: Purpose, id: u8, key: &StoreKey, fingerprint: &Fingerprint) -> Vec<u8> {
    let purpose = match purpose {
        Purpose::Record => b'r',
        Purpose::Steps => b's',
    };
    let mut associated = vec![VERSION, id, purpose];
    associated.extend(fingerprint.as_bytes());
    associated.extend(key.as_str().as_bytes());
    associated
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(ids: &[u8]) -> EncryptionKeys {
        EncryptionKeys::new(ids.iter().map(|id| (*id, [*id; 32])))
    }

    fn fingerprint(byte: u8) -> Fingerprint {
        Fingerprint::from_bytes([byte; 32])
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    /// The known answer of draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn the_cipher_gives_the_drafts_known_answer() {
        let key: [u8; 32] = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f").try_into().unwrap();
        let nonce = XNonce::try_from(&hex("404142434445464748494a4b4c4d4e4f5051525354555657")[..]).unwrap();
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                      sunscreen would be it.";
        let associated = hex("50515253c0c1c2c3c4c5c6c7");
        let sealed =
            XChaCha20Poly1305::new(&key.into()).encrypt(&nonce, Payload { msg: plain, aad: &associated }).unwrap();
        assert_eq!(sealed[..16], hex("bd6d179d3e83d43b9576579493c0e939"));
        assert_eq!(sealed[sealed.len() - 16..], hex("c0875924c1c7987947deafd8780acf49"));
    }

    #[test]
    fn the_layout_is_version_key_nonce_ciphertext_and_tag() {
        let keys = keys(&[7]);
        let nonce = XNonce::try_from(&[9; NONCE][..]).unwrap();
        let key = StoreKey::new("k");
        let sealed = keys.seal_with(&nonce, Purpose::Record, &key, &fingerprint(1), b"secret").unwrap();
        assert_eq!(sealed[..2], [0x80, 7]);
        assert_eq!(sealed[2..2 + NONCE], [9; NONCE]);
        assert_eq!(sealed.len(), 2 + NONCE + 6 + 16);
        assert_eq!(&keys.open(Purpose::Record, &key, &fingerprint(1), &sealed).unwrap()[..], b"secret");
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_nothing_of_it_stands_there(plain in prop::collection::vec(any::<u8>(), 8..500)) {
            let (keys, key) = (keys(&[1]), StoreKey::new("a:b"));
            let sealed = keys.seal(Purpose::Steps, &key, &fingerprint(1), &plain).unwrap();
            prop_assert!(!sealed.windows(8).any(|window| window == &plain[..8]));
            prop_assert_eq!(keys.open(Purpose::Steps, &key, &fingerprint(1), &sealed).unwrap(), plain);
        }

        #[test]
        fn a_changed_bit_or_a_missing_byte_does_not_open(place in any::<prop::sample::Index>(), bit in 0u8..8) {
            let (keys, key) = (keys(&[1]), StoreKey::new("k"));
            let sealed = keys.seal(Purpose::Record, &key, &fingerprint(1), b"twenty bytes of text").unwrap();
            let mut flipped = sealed.to_vec();
            flipped[place.index(sealed.len())] ^= 1 << bit;
            prop_assert!(keys.open(Purpose::Record, &key, &fingerprint(1), &flipped.into()).is_err());
            let cut = sealed.slice(..place.index(sealed.len()));
            prop_assert!(keys.open(Purpose::Record, &key, &fingerprint(1), &cut).is_err());
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(garbage in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(keys(&[1]).open(Purpose::Record, &StoreKey::new("k"), &fingerprint(1), &garbage.into()).is_err());
        }
    }

    #[test]
    fn a_record_of_another_key_request_or_purpose_does_not_open() {
        let (keys, key) = (keys(&[1]), StoreKey::new("k"));
        let sealed = keys.seal(Purpose::Record, &key, &fingerprint(1), b"x").unwrap();
        let open = |purpose, name: &str, byte| keys.open(purpose, &StoreKey::new(name), &fingerprint(byte), &sealed);
        assert!(open(Purpose::Record, "k", 1).is_ok());
        assert_eq!(open(Purpose::Record, "l", 1), Err(SealError::Forged));
        assert_eq!(open(Purpose::Record, "k", 2), Err(SealError::Forged));
        assert_eq!(open(Purpose::Steps, "k", 1), Err(SealError::Forged));
        // The same id, with another key.
        let other = EncryptionKeys::new([(1, [9; 32])]);
        assert_eq!(other.open(Purpose::Record, &key, &fingerprint(1), &sealed), Err(SealError::Forged));
    }

    #[test]
    fn keys_are_not_shown() {
        let shown = format!("{:?}", keys(&[2, 1]));
        assert!(shown.starts_with("EncryptionKeys { first: 2, others: [1]"), "{shown}");
    }

    #[test]
    fn why_a_record_does_not_open_is_named() {
        let (key, plain) = (StoreKey::new("k"), Bytes::from_static(b"\x01plain"));
        let sealed = keys(&[1]).seal(Purpose::Record, &key, &fingerprint(1), &plain).unwrap();
        let open = |keys: EncryptionKeys, bytes| keys.open(Purpose::Record, &key, &fingerprint(1), bytes);
        assert_eq!(open(keys(&[2]), &sealed), Err(SealError::UnknownKey(1)));
        assert_eq!(open(keys(&[1]), &plain), Err(SealError::NotSealed));
        assert_eq!(open(keys(&[1]).accept_unsealed(), &plain), Ok(plain.clone()));
    }
}
