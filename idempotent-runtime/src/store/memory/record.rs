//! A record of the memory store, and how many bytes it takes.

use bytes::Bytes;

use super::clock::Moment;
use crate::store::{ClaimRequest, Fingerprint, StoreKey, Token};

/// Bytes that a key takes in addition to its text: two counters, and the allocator's overhead.
const KEY_OVERHEAD: usize = 32;

/// Bytes that a record takes in addition to its content: a counter that replays share, and the allocator's overhead.
const BODY_OVERHEAD: usize = 48;

pub(super) struct Record {
    pub(super) hash: u64,
    pub(super) key: StoreKey,
    pub(super) token: Token,
    pub(super) fingerprint: Fingerprint,
    pub(super) fence: u64,
    pub(super) expires: Moment,
    /// The moment of its entry in the heap.
    pub(super) scheduled: Moment,
    pub(super) state: State,
}

pub(super) enum State {
    /// `recovering` is kept with the claim, so that a repeated claim gets the same answer. `steps` are the values that
    /// its handlers have saved.
    Running {
        lease_ends: Moment,
        recovering: bool,
        steps: Bytes,
    },
    Done(Bytes),
}

impl State {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Running { steps, .. } if steps.is_empty() => 0,
            Self::Running { steps: bytes, .. } | Self::Done(bytes) => bytes.len() + BODY_OVERHEAD,
        }
    }
}

/// The state of an attempt whose lease begins now.
pub(super) fn running(attempt: &ClaimRequest, now: Moment, recovering: bool, steps: Bytes) -> State {
    State::Running { lease_ends: now.after(attempt.lease), recovering, steps }
}

/// The bytes that a record of this key takes in addition to its state.
pub(super) fn cost(key: &StoreKey) -> usize {
    KEY_OVERHEAD + key.as_str().len()
}
