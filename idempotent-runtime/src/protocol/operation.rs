//! An operation on a record, as a machine: it says what the store has to do, and is told what came of it.

use std::time::SystemTime;

use super::{Change, ClaimRequest, Expect, Put, Seen, StoreError, StoreKey, Swapped};

/// One operation on the record of a key.
///
/// It starts with [`begin`](Self::begin). Each step is carried out, and the result is passed to the method for it, until
/// the step is an answer. A call that fails ends the operation with the store's error.
///
/// `count` returns the next number of the attempt's own changes: each is larger than all before it.
pub trait Operation: Send {
    /// What the caller is told.
    type Outcome: Send;

    /// The key of the record.
    fn key(&self) -> &StoreKey;

    /// The request, if this is the claim of a key.
    fn claims(&self) -> Option<&ClaimRequest> {
        None
    }

    /// The first step, of a store that has not read the record.
    fn begin(&mut self, count: impl Fn() -> Change) -> Step<Self::Outcome>;

    /// This is under the key: it was read, or it is not what a swap expected. `refused` is why the store cannot write now;
    /// `None` if it can. A store that has the record at hand may begin here.
    fn met(&mut self, seen: Seen, refused: Option<StoreError>, count: impl Fn() -> Change) -> Step<Self::Outcome>;

    /// The swap was written, with this fence.
    fn written(&mut self, fence: u64) -> Step<Self::Outcome>;

    /// The answer to a swap, or [`Swapped::Found`] with what was read.
    #[inline]
    fn swapped(&mut self, swapped: Swapped, count: impl Fn() -> Change) -> Step<Self::Outcome> {
        match swapped {
            Swapped::Done { fence } => self.written(fence),
            Swapped::Found(seen) => self.met(seen, None, count),
            Swapped::Refused(seen, error) => self.met(seen, Some(error), count),
            Swapped::Late => Step::Answer(Err(StoreError::Timeout)),
        }
    }

    /// The store's clock. Only for an operation that has asked for it.
    fn clock(&mut self, now: SystemTime, count: impl Fn() -> Change) -> Step<Self::Outcome> {
        let _ = (now, count);
        Step::Answer(Err(StoreError::Timeout))
    }
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step<T> {
    /// Read the record.
    Read,
    /// Read the store's clock.
    Clock,
    /// Write, if this is expected. If it came too late, the operation ends with [`StoreError::Timeout`].
    Swap(Expect, Put),
    /// The operation has ended.
    Answer(Result<T, StoreError>),
}

impl<T> Step<T> {
    pub(super) fn answer(outcome: T) -> Self {
        Self::Answer(Ok(outcome))
    }
}

/// How often an operation may begin again because others have changed the record meanwhile.
const TRIES: u8 = 5;

/// Counts the tries of an operation, so that it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tries(u8);

impl Tries {
    /// A read as the next step, unless there were too many tries.
    pub(super) fn read<T>(&mut self) -> Step<T> {
        self.0 += 1;
        if self.0 > TRIES { Step::Answer(Err(StoreError::Timeout)) } else { Step::Read }
    }

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
