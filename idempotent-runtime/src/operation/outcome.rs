//! What came of an operation.

use std::{convert::Infallible, time::Duration};

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
///
/// It is shown, and has the causes, as the effect's own error if that is the reason. It is a [`std::error::Error`] if the
/// effect's is. `anyhow::Error` and boxed errors are none; they are taken out by [`into_effect`](Self::into_effect).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The effect's own error, of any type. The key is free, so that the next delivery runs it again. To have a refusal
    /// kept and replayed, return it as part of the value: `Ok(Err(refusal))`.
    #[error(transparent)]
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
    /// The key is empty, or only white space.
    #[error("the operation's key is empty")]
    KeyEmpty,
    /// The key is the nil or the max UUID: an id that the producer never set.
    #[error("the operation's key is the nil or the max UUID, which is the same for everybody")]
    KeyNil,
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

impl<E> RunError<E> {
    /// The effect's own error, or the other reason, which is an error for every `E`.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// type Error = Box<dyn std::error::Error + Send + Sync>;
    ///
    /// async fn consume(idempotency: &Idempotency) -> Result<(), Error> {
    ///     let run = idempotency.operation("orders.created").key("message-1").run(async |_| Err::<(), Error>("no money".into()));
    ///     run.await.map_err(|error| error.into_effect().unwrap_or_else(Error::from))?;
    ///     Ok(())
    /// }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # assert_eq!(consume(&Idempotency::new(MemoryStore::new())).await.unwrap_err().to_string(), "no money");
    /// # });
    /// ```
    ///
    /// # Errors
    /// The reason why there is no outcome, if it is not the effect's error.
    pub fn into_effect(self) -> Result<E, RunError<Infallible>> {
        Err(match self {
            Self::Effect(error) => return Ok(error),
            Self::StoreUnavailable => RunError::StoreUnavailable,
            Self::StoreFull => RunError::StoreFull,
            Self::TooManyInFlight => RunError::TooManyInFlight,
            Self::Unreadable => RunError::Unreadable,
            Self::OtherType(error) => RunError::OtherType(error),
            Self::KeyEmpty => RunError::KeyEmpty,
            Self::KeyNil => RunError::KeyNil,
            Self::Fingerprint(error) => RunError::Fingerprint(error),
            Self::LeaseTooLong { lease, redelivered_after } => RunError::LeaseTooLong { lease, redelivered_after },
        })
    }
}
