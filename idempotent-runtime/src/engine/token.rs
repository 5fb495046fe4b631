//! Makes tokens. A token identifies one attempt.

use std::{
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::SystemTime,
};

use uuid::Uuid;

use crate::store::{Fingerprint, Token};

/// Makes the tokens of one engine.
pub(crate) struct Tokens {
    secret: Secret,
    made: AtomicU64,
}

/// Random bytes from the operating system, read once.
enum Secret {
    /// No other process sees the tokens.
    Local(u128),
    /// Other processes see them, in a shared store or journal. This is the key of a hash.
    Shared([u8; 32]),
}

impl Tokens {
    pub(crate) fn new(shared: bool) -> Self {
        let secret = if shared {
            let random = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes);
            Secret::Shared(blake3::hash(random.as_flattened()).into())
        } else {
            Secret::Local(Uuid::new_v4().as_u128())
        };
        Self { secret, made: AtomicU64::new(0) }
    }

    /// Makes a token that no other attempt has.
    ///
    /// Within one process a counter is enough. If processes share a store, the token is a hash of the counter, the time
    /// and the fingerprint, with the secret as its key. A process that was forked, or restored from a snapshot, has the
    /// same secret and counter as another process. The time and the request make its tokens differ.
    pub(crate) fn next(&self, fingerprint: &Fingerprint) -> Token {
        let number = self.made.fetch_add(1, Relaxed);
        match &self.secret {
            Secret::Local(secret) => Token::from_bytes((secret ^ u128::from(number)).to_le_bytes()),
            Secret::Shared(key) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                // The hash takes 64 bytes in one step.
                let mut input = [0; 8 + 16 + 32];
                let mut rest = input.as_mut_slice();
                for part in [&number.to_le_bytes()[..], &now.as_nanos().to_le_bytes(), fingerprint.as_bytes()] {
                    // There is room for all three.
                    let _ = rest.write_all(part);
                }
                let mut token = [0; 16];
                token.iter_mut().zip(blake3::keyed_hash(key, &input).as_bytes()).for_each(|(byte, hash)| *byte = *hash);
                Token::from_bytes(token)
            }
        }
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
        let Secret::Shared(key) = original.secret else { panic!("not shared") };
        let clone = Tokens { secret: Secret::Shared(key), made: AtomicU64::new(0) };
        let (one, other) = (Fingerprint::from_bytes([1; 32]), Fingerprint::from_bytes([2; 32]));
        assert_ne!(original.next(&one), clone.next(&other));
    }
}
