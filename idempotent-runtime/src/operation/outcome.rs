//! What came of an operation.

use std::time::Duration;

/// What came of an [operation](crate::Idempotency::operation). `docs.rs` has a page on what a consumer does on each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<T> {
    /// The effect ran now, and its result is stored. Acknowledge the message.
    Ran(T),
    /// The effect ran earlier; this is its stored result. Acknowledge the message.
    Replayed(T),
    /// The effect ran earlier, and its result was too large to be kept or could not be written as JSON. Acknowledge the
    /// message.
    RanWithoutValue,
    /// Another attempt is running. Have the message delivered again after `left`.
    Running {
        /// The rest of the other attempt's lease.
        left: Duration,
    },
    /// An earlier attempt died, and [`Takeover::Refuse`](crate::Takeover::Refuse) forbids another run. A person must look.
    Died,
    /// The key was used with another [fingerprint](crate::Operation::fingerprint). The producer is wrong: put the message
    /// aside.
    KeyReused,
}

impl<T> Outcome<T> {
    /// The result, if the effect ran, now or earlier.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Ran(value) | Self::Replayed(value) => Some(value),
            _ => None,
        }
    }

    /// Whether the effect has run, now or earlier. A consumer then acknowledges the message.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Ran(_) | Self::Replayed(_) | Self::RanWithoutValue)
    }
}

/// Why an operation has no [`Outcome`]. Nothing was acknowledged: have the message delivered again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The effect's own error, of any type that can be shown. The key is free, so that the next delivery runs it again.
    #[error("{0}")]
    Effect(E),
    /// The store did not answer, so the effect did not run. Or the database that the result is committed to did not answer
    /// when it was asked what the effect had committed.
    #[error("the idempotency store is unavailable, so no result is known")]
    StoreUnavailable,
    /// The store has no room for another claim. The effect did not run.
    #[error("the idempotency store is full, so the operation did not run")]
    StoreFull,
    /// As many operations and requests are in flight as the service allows. The effect did not run.
    #[error("too many operations are in flight")]
    TooManyInFlight,
    /// The record of the key, its steps, or what the effect has committed cannot be read.
    #[error("the record of the operation's key cannot be read")]
    Unreadable,
    /// The stored result is no JSON of this type. The effect did not run again.
    #[error("the result that an earlier attempt stored cannot be read as this type")]
    OtherType(#[source] serde_json::Error),
    /// The key is empty.
    #[error("the operation's key is empty")]
    KeyEmpty,
    /// The value given to [`fingerprint`](crate::Operation::fingerprint) cannot be hashed: its own `Serialize` fails.
    #[error("the operation's fingerprint cannot be hashed")]
    Fingerprint(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The lease is not shorter than the broker's redelivery time.
    #[error(
        "the lease of {lease:?} is not shorter than the {redelivered_after:?} after which a message is delivered again"
    )]
    LeaseTooLong {
        /// The operation's lease.
        lease: Duration,
        /// What [`redelivered_after`](crate::Operation::redelivered_after) was told.
        redelivered_after: Duration,
    },
}
