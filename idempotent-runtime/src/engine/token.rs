//! Makes tokens. A token identifies one attempt.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::SystemTime,
};

use sha2::{Digest, Sha256};

use crate::store::{Fingerprint, Token};

/// Makes the tokens of one engine.
pub(crate) struct Tokens {
    /// Random bytes from the operating system, read once.
    secret: [u8; 16],
    made: AtomicU64,
    /// Whether other processes see the tokens, in a shared store or journal.
    shared: bool,
}

impl Tokens {
    pub(crate) fn new(shared: bool) -> Self {
        Self { secret: uuid::Uuid::new_v4().into_bytes(), made: AtomicU64::new(0), shared }
    }

    /// Makes a token that no other attempt has.
    ///
    /// Within one process a counter is enough. If processes share a store, the token is a hash of a random secret, the
    /// counter, the time and the fingerprint. A process that was forked, or restored from a snapshot, has the same
    /// secret and counter as another process. The time and the request make its tokens differ.
    pub(crate) fn next(&self, fingerprint: &Fingerprint) -> Token {
        let number = self.made.fetch_add(1, Relaxed);
        let mut token = self.secret;
        if self.shared {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let mut input = [0; 56];
            let parts =
                [&self.secret[..], &number.to_le_bytes(), &now.as_nanos().to_le_bytes(), fingerprint.as_bytes()];
            input.iter_mut().zip(parts.iter().copied().flatten()).for_each(|(byte, part)| *byte = *part);
            token.iter_mut().zip(Sha256::digest(input)).for_each(|(byte, hashed)| *byte = hashed);
        } else {
            token.iter_mut().zip(number.to_le_bytes()).for_each(|(byte, counted)| *byte ^= counted);
        }
        Token::from_bytes(token)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_tokens_are_the_same() {
        let print = Fingerprint::from_bytes([7; 32]);
        for shared in [false, true] {
            let tokens = Tokens::new(shared);
            let distinct: HashSet<_> = (0..10_000).map(|_| tokens.next(&print)).collect();
            assert_eq!(distinct.len(), 10_000, "shared: {shared}");
        }
    }

    #[test]
    fn a_process_that_was_cloned_makes_other_tokens_for_other_requests() {
        let original = Tokens::new(true);
        let clone = Tokens { secret: original.secret, made: AtomicU64::new(0), shared: true };
        let (one, other) = (Fingerprint::from_bytes([1; 32]), Fingerprint::from_bytes([2; 32]));
        assert_ne!(original.next(&one), clone.next(&other));
    }
}
