//! Hashes the names of requests in a store, so that the keys and scopes in them cannot be read. Pure.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The secret of [`IdempotencyBuilder::hash_names`](crate::IdempotencyBuilder::hash_names).
#[derive(Clone)]
pub(crate) struct NameSecret(Hmac<Sha256>);

impl NameSecret {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        // HMAC accepts a key of any length. If it did not, an empty key would still hide the name.
        Self(Hmac::new_from_slice(&secret).unwrap_or_else(|_| Hmac::new(&hmac::digest::Key::<Hmac<Sha256>>::default())))
    }

    /// The namespace, and the HMAC-SHA-256 of the whole name in hexadecimal digits.
    pub(crate) fn name(&self, namespace: &str, name: &str) -> String {
        let digest = self.digest(b'n', name.as_bytes());
        let mut hidden = String::with_capacity(namespace.len() + 65);
        hidden.extend(namespace.chars().filter(char::is_ascii_graphic).filter(|part| !"{}:".contains(*part)));
        hidden.push(':');
        for byte in digest {
            hidden.push_str(&format!("{byte:02x}"));
        }
        hidden
    }

    /// A fingerprint from which nobody can find the request by trying candidates.
    pub(crate) fn fingerprint(&self, fingerprint: &[u8; 32]) -> [u8; 32] {
        self.digest(b'f', fingerprint)
    }

    fn digest(&self, purpose: u8, bytes: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(&[purpose]);
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_namespace_and_nothing_else() {
        let secret = NameSecret::new([1; 32]);
        let name = secret.name("pay", "pay:POST:/payments:alice:k-1");
        let (namespace, digest) = name.split_once(':').unwrap();
        assert_eq!((namespace, digest.len()), ("pay", 64));
        assert_eq!(name, secret.name("pay", "pay:POST:/payments:alice:k-1"));
        assert_ne!(name, secret.name("pay", "pay:POST:/payments:alice:k-2"));
        assert_ne!(name, NameSecret::new([2; 32]).name("pay", "pay:POST:/payments:alice:k-1"));
    }

    /// The RFC has no test vector with a key of 32 bytes. The expected value is Python's `hmac.new(bytes([1]) * 32,
    /// b"nk", "sha256")`.
    #[test]
    fn a_name_is_the_hmac_that_other_programs_compute() {
        let name = NameSecret::new([1; 32]).name("n", "k");
        assert_eq!(name, "n:4305b1b64ff4bda63a9e16438d6dd8fb24f4c9ab21c5f85effdcb429b5bb49f8");
    }
}
