//! What happens to a request, what its attempt came to, and how it is answered. Any future can be an attempt: the handler of
//! a request, the consumer of a message, a job.

use std::{any::Any, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::background::Later;
use crate::store::Acquired;

/// What happens to a request: what the store and the journal say of its key.
pub(super) enum Decision {
    /// Its attempt runs: under this claim, or without one during an outage. With the moment before the claim was sent to
    /// the store.
    Run(Option<Acquired>, Instant),
    /// The record of an earlier attempt is the answer.
    Replay(Bytes),
    Refuse(Refused),
}

/// What an attempt's future returns.
pub(crate) enum Outcome<T> {
    /// The record is stored, and a retry gets it.
    Stored(Stored<T>),
    /// Nothing is stored, and the key is freed.
    Freed(T),
    /// It is not known whether the caller gets the value. Nothing is stored, and the next attempt is `recovering`.
    Broken(T),
    /// There is no value. The next attempt is `recovering`.
    Panicked(Panic),
}

/// The payload of a panic.
pub(crate) type Panic = Box<dyn Any + Send>;

/// A value with the record that a retry gets.
pub(crate) struct Stored<T> {
    pub(crate) record: Bytes,
    /// Whether the attempt has put the record into its own transaction. It then counts only if the journal has it.
    pub(crate) recorded: bool,
    /// Whether the record is without its content, because that has not ended yet.
    pub(crate) unfinished: bool,
    pub(crate) value: T,
}

/// What an attempt returns to its caller.
pub(crate) trait Recordable: Send + 'static {
    /// A small record which says that the attempt ran. It is stored if there is no room for the whole one.
    fn without_content(&self) -> Bytes;

    /// Whether the value says that the work was done.
    fn is_success(&self) -> bool;

    /// Called for an unfinished value before the caller gets it. `later` stores its record when the content has ended.
    fn store_later(self, later: Later) -> Self;
}

/// How a request is answered.
pub(crate) enum Answer<T> {
    /// An attempt ran.
    Ran(Reply<T>),
    /// The record of an earlier attempt.
    Replayed(Bytes),
    /// Nothing ran.
    Refused(Refused),
}

/// What the caller gets after an attempt.
pub(crate) enum Reply<T> {
    /// What the attempt returned.
    Value(T),
    /// The record that the attempt itself has committed in the journal. It returned something else.
    Committed(Bytes),
    /// The record that another attempt at the key has committed in the journal.
    Replayed(Bytes),
    /// The journal does not allow what the attempt returned.
    Refused(Refused),
}

/// Why a request gets neither a value nor a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another attempt is running.
    Running {
        /// The rest of its lease.
        left: Duration,
    },
    /// An earlier attempt died, and the policy forbids another run.
    Died,
    /// The key was used for another request.
    OtherRequest,
    /// The record, or the steps of an earlier attempt, cannot be read.
    Unreadable,
    /// The key's time stamp is older than the ttl, and the store has no record of the key.
    Expired,
    /// The key's time stamp is ahead of the store's clock.
    FromTheFuture,
    StoreFull,
    StoreUnavailable,
    JournalUnavailable,
}

impl<T> Outcome<T> {
    /// The outcome as the caller gets it.
    pub(super) fn replied(self) -> Outcome<Reply<T>> {
        match self {
            Self::Stored(Stored { record, recorded, unfinished, value }) => {
                Outcome::Stored(Stored { record, recorded, unfinished, value: Reply::Value(value) })
            }
            Self::Freed(value) => Outcome::Freed(Reply::Value(value)),
            Self::Broken(value) => Outcome::Broken(Reply::Value(value)),
            Self::Panicked(panic) => Outcome::Panicked(panic),
        }
    }
}
