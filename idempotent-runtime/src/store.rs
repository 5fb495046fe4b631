//! Where claims live: the [`Store`] trait and what passes through it.
//!
//! A store knows claims, not HTTP. It keeps one record per [`StoreKey`]: either *running* (a lease held by a token) or
//! *done* (opaque bytes that the engine wrote). Every decision on time is made by the store's own clock, and every
//! change of a record compares the token that made the claim.
//!
//! [`MemoryStore`] is for one process, [`RedisStore`] for many. A store of your own implements [`Store`] and goes
//! through the same conformance suite as ours (`idempotent_runtime::testing`, feature `testing`).

mod erased;
mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

pub(crate) use erased::DynStore;
pub use memory::{MemoryStore, MemoryStoreBuilder};
#[cfg(feature = "redis")]
pub use redis::{RedisStore, RedisStoreBuilder, RedisStoreError};

use crate::policy::Takeover;

/// A place that keeps claims: atomic, persistent as far as its medium is, and with a clock of its own.
///
/// The engine puts a deadline on every call, repeats [`claim`](Store::claim) and [`complete`](Store::complete) with the
/// same token when an answer was lost, and never runs a handler on an error. An implementation owes it that
///
/// - a claim is atomic: of any number of concurrent attempts exactly one gets [`Answer::Yours`];
/// - a claim repeated with the same token is the same claim, with the same fence and the same `recovering`;
/// - [`complete`](Store::complete), [`renew`](Store::renew), [`release`](Store::release) and
///   [`abandon`](Store::abandon) change nothing when the record belongs to another token;
/// - a dropped future may or may not have had its effect, and nothing else.
pub trait Store: Send + Sync + 'static {
    /// Claims the attempt's key, takes it over from an attempt whose lease is over, or says what stands in the way.
    fn claim(&self, attempt: &Attempt) -> impl Future<Output = Result<Answer, StoreError>> + Send;

    /// Starts the lease anew. Creates the claim again, with the same fence, if the store lost it.
    fn renew(&self, attempt: &Attempt, fence: u64) -> impl Future<Output = Result<Renewal, StoreError>> + Send;

    /// Replaces the running record by the finished one, which lives for [`Attempt::ttl`] from now.
    ///
    /// Stores it too when the key is absent; never overwrites another attempt's record.
    fn complete(
        &self,
        attempt: &Attempt,
        fence: u64,
        record: Bytes,
    ) -> impl Future<Output = Result<Completion, StoreError>> + Send;

    /// Frees the key: the next attempt claims it as if there had been none.
    ///
    /// A claim that was taken over from a dead attempt is [abandoned](Self::abandon) instead: what the dead one did is
    /// still unknown, and the next attempt has to be told so.
    fn release(&self, attempt: &Attempt) -> impl Future<Output = Result<Ending, StoreError>> + Send;

    /// Ends the lease now and keeps the record, so that the next attempt is told that this one died.
    fn abandon(&self, attempt: &Attempt) -> impl Future<Output = Result<Ending, StoreError>> + Send;

    /// Reads what is known of a key and changes nothing.
    fn look(&self, key: &StoreKey) -> impl Future<Output = Result<Sighting, StoreError>> + Send;

    /// The store's clock, by which time-stamped keys are judged. An estimate within a second is good enough.
    fn now(&self) -> impl Future<Output = Result<SystemTime, StoreError>> + Send;

    /// Forgets a key whatever its token, unless an attempt holds its lease. For people, by
    /// [`Idempotency::forget`](crate::Idempotency::forget); the engine never calls it.
    ///
    /// A store that does not implement it refuses.
    fn forget(&self, key: &StoreKey) -> impl Future<Output = Result<Forgetting, StoreError>> + Send {
        let _ = key;
        async { Err(StoreError::Refused("this store cannot forget a key".into())) }
    }

    /// Whether other processes, of other services too, may keep their claims in the same place. A shared store with the
    /// default namespace is warned of at the start.
    fn is_shared(&self) -> bool {
        true
    }
}

/// One attempt at a request: whose it is, what it is for, and how long its claim is to last.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The name under which the record is kept.
    pub key: StoreKey,
    /// What makes this attempt itself; a repeated claim with the same token is the same claim.
    pub token: Token,
    /// What the request asks for; the same key with another fingerprint is [`Answer::OtherRequest`].
    pub fingerprint: Fingerprint,
    /// How long the claim outlives its last renewal.
    pub lease: Duration,
    /// How long a finished record is kept, from completion. A running record is kept for `lease + ttl`, so that a dead
    /// attempt is known and not forgotten.
    pub ttl: Duration,
    /// What to do with a key whose attempt died.
    pub takeover: Takeover,
}

impl Attempt {
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
        }
    }

    /// How long a running record is kept: the lease, and then as long as a finished one.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.lease.saturating_add(self.ttl)
    }
}

/// What a store answers to a claim. `Debug` shows of a record only how long it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// The key is this attempt's.
    Yours {
        /// Larger than that of every earlier attempt at the key.
        fence: u64,
        /// An earlier attempt died, and what it did is unknown.
        recovering: bool,
    },
    /// Another attempt at the same request holds the lease.
    Running {
        /// What is left of its lease.
        left: Duration,
    },
    /// An earlier attempt died, and [`Takeover::Refuse`] forbids to run again.
    Died,
    /// The request is finished; this is the record that [`Store::complete`] was given.
    Done(Bytes),
    /// The key belongs to a request with another fingerprint.
    OtherRequest,
    /// There is a record, but it makes no sense or would never expire. Nothing may run.
    Unreadable,
}

/// What a store answers to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease starts anew.
    Renewed,
    /// The store had lost the claim; it stands again.
    Recreated,
    /// This attempt has completed already; there is nothing to renew.
    Completed,
    /// The key is another's: this attempt is fenced off.
    Lost,
}

/// What a store answers to a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The record is stored.
    Stored,
    /// This attempt had stored its record before; an answer was lost on the way.
    AlreadyStored,
    /// The key is another's: nothing was written.
    Lost,
}

/// What a store answers when a claim is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The claim is ended.
    Ended,
    /// There was no running claim of this token.
    NotOurs,
}

/// What a store answers when it is told to forget a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgetting {
    /// The record is gone; the next attempt is as good as the first.
    Forgotten,
    /// Nothing was known of the key.
    Absent,
    /// An attempt holds the lease, so its record stays.
    Running {
        /// What is left of the lease.
        left: Duration,
    },
}

/// What a look at a key shows. `Debug` shows of a record only how long it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Sighting {
    /// Nothing is known of the key.
    Absent,
    /// An attempt has claimed it.
    Running {
        /// What the attempt's request asks for.
        fingerprint: Fingerprint,
        /// What is left of its lease; zero when the attempt died.
        left: Duration,
    },
    /// The request is finished.
    Done {
        /// What the request asked for.
        fingerprint: Fingerprint,
        /// The record that [`Store::complete`] was given.
        record: Bytes,
    },
    /// There is a record, but it makes no sense or would never expire.
    Unreadable,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yours { fence, recovering } => {
                f.debug_struct("Yours").field("fence", fence).field("recovering", recovering).finish()
            }
            Self::Running { left } => f.debug_struct("Running").field("left", left).finish(),
            Self::Died => f.write_str("Died"),
            Self::Done(record) => write!(f, "Done({} bytes)", record.len()),
            Self::OtherRequest => f.write_str("OtherRequest"),
            Self::Unreadable => f.write_str("Unreadable"),
        }
    }
}

impl fmt::Debug for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Running { left, .. } => f.debug_struct("Running").field("left", left).finish_non_exhaustive(),
            Self::Done { record, .. } => write!(f, "Done({} bytes)", record.len()),
            Self::Unreadable => f.write_str("Unreadable"),
        }
    }
}

/// Why a store could not do what it was asked. No variant carries a key, a body or a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No answer in time. Whether the call had its effect is unknown.
    #[error("the store did not answer in time")]
    Timeout,
    /// No connection, or it broke. Whether the call had its effect is unknown.
    #[error("the store cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no room for another claim; nothing was written, and nothing that is live was forgotten.
    #[error("the store is full: {0}")]
    Full(&'static str),
    /// The store answered that it will not do this now, for example because it is a replica.
    #[error("the store refused the call")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The name under which a record is kept: `{namespace}:{method}:{matched path}:{scope}:{key}`, each part escaped.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey(Arc<str>);

impl StoreKey {
    /// Takes a name as it is. The engine builds its own; this is for tests of stores and for support tools.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Shows nothing: the name contains the client's key.
impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

/// 128 random bits that make an attempt itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; 16]);

impl Token {
    /// A new token, from the system's randomness each time: a forked process or a restored snapshot must not repeat one.
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

/// Shows nothing: who knows the token could complete the claim.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// SHA-256 over everything that makes a request this request.
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

/// Shows nothing: a short body could be guessed from its hash.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}
