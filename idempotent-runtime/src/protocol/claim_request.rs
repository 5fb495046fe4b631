//! [`ClaimRequest`]: what a store is asked to claim, with its name, token and fingerprint.

use std::{fmt, sync::Arc, time::Duration};

use super::{Change, Head, State};
use crate::config::policy::Takeover;

/// One attempt at a request, as a store sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ClaimRequest {
    /// The name of the record in the store.
    pub key: StoreKey,
    /// Identifies this attempt. A claim that is repeated with the same token is the same claim.
    pub token: Token,
    /// A hash of the request. If the key has another fingerprint, the answer is
    /// [`ClaimOutcome::OtherRequest`](super::ClaimOutcome::OtherRequest).
    pub fingerprint: Fingerprint,
    /// How long the claim stays valid after its last renewal.
    pub lease: Duration,
    /// How long a finished record is kept, counted from its completion. A running record is kept for `lease + ttl`, so
    /// that a dead attempt is not forgotten.
    pub ttl: Duration,
    /// What to do with a key whose attempt died.
    pub takeover: Takeover,
    /// The fence of the claim. Zero until the store has returned it.
    pub(crate) fence: u64,
}

impl ClaimRequest {
    /// An attempt with a fresh token, a lease of 30 s, a ttl of 24 h and [`Takeover::Rerun`].
    #[must_use]
    pub fn new(key: StoreKey, fingerprint: Fingerprint) -> Self {
        Self {
            key,
            token: Token::fresh(),
            fingerprint,
            lease: Duration::from_secs(30),
            ttl: Duration::from_secs(24 * 60 * 60),
            takeover: Takeover::Rerun,
            fence: 0,
        }
    }

    /// How long a running record is kept: the lease, and then the ttl.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.lease.saturating_add(self.ttl)
    }

    /// The head of a running record, whose lease starts when it is written.
    #[inline]
    pub(crate) fn running(&self, change: Change, recovering: bool, fence: u64) -> Head {
        let state = State::Running { recovering };
        self.head(change, state, fence, self.lease, self.retention())
    }

    /// The head of a record that holds no lease, or whose lease is over.
    #[inline]
    pub(super) fn ended(&self, change: Change, state: State, fence: u64, kept: Duration) -> Head {
        self.head(change, state, fence, Duration::ZERO, kept)
    }

    #[inline]
    fn head(&self, change: Change, state: State, fence: u64, lease: Duration, kept: Duration) -> Head {
        Head { token: self.token, change, state, fence, lease, kept, fingerprint: self.fingerprint }
    }
}

/// The name of a record: `{namespace}:{method}:{matched path}:{scope}:{key}`, each part escaped.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey(Arc<str>);

impl StoreKey {
    /// Takes a name unchanged. For tests of stores and for support tools; the engine makes its names itself.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 128 bits that identify an attempt, and that nobody can guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; 16]);

impl Token {
    /// A new token. The operating system is asked for random bytes each time, so that a forked process or a restored
    /// snapshot never repeats one.
    #[must_use]
    pub fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().into_bytes())
    }

    /// A token from its bytes, as a store kept them.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, as a store keeps them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A BLAKE3 hash of everything that must be the same in a retry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// A fingerprint from its bytes, as a store kept them.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, as a store keeps them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// `Debug` prints nothing of them: the name contains the client's key, who knows the token could complete the claim, and
/// a short body could be guessed from its hash.
macro_rules! hidden {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )+};
}

hidden!(StoreKey, Token, Fingerprint);
