//! A record of the memory store, and how many bytes it takes.

use bytes::Bytes;

use super::{budget::Budget, clock::Moment};
use crate::protocol::{Change, Fingerprint, Head, Put, Seen, Stamp, State, StoreKey, Token};

/// Bytes that a key takes in addition to its text: two counters, and the allocator's overhead.
const KEY_OVERHEAD: usize = 32;

/// Bytes that a body takes in addition to its content: a counter that replays share, and the allocator's overhead.
const BODY_OVERHEAD: usize = 48;

/// A head, with its durations as moments, and a body.
pub(super) struct Record {
    pub(super) hash: u64,
    pub(super) key: StoreKey,
    token: Token,
    change: Change,
    state: State,
    fence: u64,
    lease_ends: Moment,
    fingerprint: Fingerprint,
    body: Bytes,
    pub(super) expires: Moment,
    /// The moment of its entry in the heap.
    pub(super) scheduled: Moment,
}

impl Record {
    #[inline]
    pub(super) fn new(hash: u64, key: StoreKey, put: Put, now: Moment) -> Self {
        let Head { token, change, state, fence, lease, kept, fingerprint } = put.head;
        let (lease_ends, expires) = (now.after(lease), now.after(kept));
        let body = put.body.unwrap_or_default();
        Self { hash, key, token, change, state, fence, lease_ends, fingerprint, body, expires, scheduled: expires }
    }

    /// Writes over it. Its place in the heap stays: it is checked there and gets a new one.
    #[inline]
    pub(super) fn write(&mut self, put: Put, now: Moment, budget: &Budget) {
        let Head { token, change, state, fence, lease, kept, fingerprint } = put.head;
        (self.token, self.change, self.state) = (token, change, state);
        (self.fence, self.fingerprint) = (fence, fingerprint);
        if !put.keep_expiry {
            (self.lease_ends, self.expires) = (now.after(lease), now.after(kept));
        }
        if let Some(body) = put.body {
            budget.subtract(self.body_bytes());
            self.body = body;
            budget.add(self.body_bytes());
        }
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp { token: self.token, change: self.change }
    }

    #[inline]
    pub(super) fn seen(&self, now: Moment) -> Seen {
        let &Self { token, change, state, fence, fingerprint, .. } = self;
        let (lease, left) = (self.lease_ends.left(now), self.expires.left(now));
        let head = Head { token, change, state, fence, lease, kept: left, fingerprint };
        Seen::Record { head, body: Some(self.body.clone()), left: Some(left) }
    }

    /// The bytes that it takes in addition to its place in the table.
    pub(super) fn bytes(&self) -> usize {
        cost(&self.key) + self.body_bytes()
    }

    pub(super) fn body_bytes(&self) -> usize {
        if self.body.is_empty() { 0 } else { self.body.len() + BODY_OVERHEAD }
    }
}

/// The bytes that a record of this key takes in addition to its body.
pub(super) fn cost(key: &StoreKey) -> usize {
    KEY_OVERHEAD + key.as_str().len()
}
