//! An operation on a record, as a machine: it says what the store has to do, and is given what the store answered.

use std::time::SystemTime;

use super::{Change, Expect, Put, Seen, StoreError, StoreKey, Swapped};

/// One operation on the record of a key.
///
/// It starts with [`begin`](Self::begin). Each step is carried out, and its reply is passed to [`next`](Self::next),
/// until the step is an answer.
///
/// `count` returns the next number of the attempt's own changes: each is larger than all before it.
pub(crate) trait Operation {
    /// What the caller is told.
    type Outcome;

    fn key(&self) -> &StoreKey;

    fn begin(&mut self, count: impl Fn() -> Change) -> Step<Self::Outcome>;

    fn next(&mut self, reply: Reply, count: impl Fn() -> Change) -> Step<Self::Outcome>;
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// Read the record. The reply is [`Swapped::Found`].
    Read,
    /// Read the store's clock.
    Now,
    Swap(Expect, Put),
    Answer(Result<T, StoreError>),
}

/// What the store answered. If it failed, the operation has ended with that error.
#[derive(Debug)]
pub(crate) enum Reply {
    Record(Swapped),
    Now(SystemTime),
}

/// What an operation has to decide on after a step that wrote nothing.
pub(super) struct Met {
    pub(super) seen: Seen,
    /// Why the store cannot write now. `None` if it can.
    pub(super) refused: Option<StoreError>,
}

/// The result of a step on a record.
pub(super) enum Stepped {
    Written { fence: u64 },
    Met(Met),
}

impl Reply {
    /// The result of a read or a swap. A write that came too late counts as one that got no answer.
    pub(super) fn stepped(self) -> Result<Stepped, StoreError> {
        match self {
            Self::Record(Swapped::Done { fence }) => Ok(Stepped::Written { fence }),
            Self::Record(Swapped::Found(seen)) => Ok(Stepped::Met(Met { seen, refused: None })),
            Self::Record(Swapped::Refused(seen, error)) => Ok(Stepped::Met(Met { seen, refused: Some(error) })),
            Self::Record(Swapped::Late) | Self::Now(_) => Err(StoreError::Timeout),
        }
    }
}

/// How often an operation may begin again because others have changed the record meanwhile.
const TRIES: u8 = 5;

/// Counts the tries of an operation, so that it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tries(u8);

impl Tries {
    /// A swap as the next step, unless the store refuses to write, or there were too many tries.
    pub(super) fn swap<T>(&mut self, refused: Option<StoreError>, expect: Expect, put: Put) -> Step<T> {
        self.0 += 1;
        match refused {
            Some(error) => Step::Answer(Err(error)),
            None if self.0 > TRIES => Step::Answer(Err(StoreError::Timeout)),
            None => Step::Swap(expect, put),
        }
    }
}
