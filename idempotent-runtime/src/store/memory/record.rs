//! A record of the memory store, and how many bytes it takes.

use bytes::Bytes;

use super::{budget::Budget, clock::Moment};
use crate::protocol::{Head, Put, Seen, Stamp, StoreKey};

/// Bytes that a key takes in addition to its text: two counters, and the allocator's overhead.
const KEY_OVERHEAD: usize = 32;

/// Bytes that a body takes in addition to its content: a counter that replays share, and the allocator's overhead.
const BODY_OVERHEAD: usize = 48;

/// A head and a body, and when they expire.
pub(super) struct Record {
    pub(super) hash: u64,
    pub(super) key: StoreKey,
    head: Head,
    body: Bytes,
    pub(super) expires: Moment,
    /// The moment of its entry in the heap.
    pub(super) scheduled: Moment,
}

impl Record {
    #[inline]
    pub(super) fn new(hash: u64, key: StoreKey, put: Put, now: Moment) -> Self {
        let (expires, body) = (now.after(put.head.kept), put.body.unwrap_or_default());
        Self { hash, key, head: put.head, body, expires, scheduled: expires }
    }

    /// Writes over it. Its place in the heap stays: it is checked there and gets a new one.
    #[inline]
    pub(super) fn write(&mut self, put: Put, now: Moment, budget: &Budget) {
        self.head = put.head;
        if !put.keep_expiry {
            self.expires = now.after(self.head.kept);
        }
        if let Some(body) = put.body {
            budget.subtract(self.body_bytes());
            self.body = body;
            budget.add(self.body_bytes());
        }
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.head.stamp()
    }

    #[inline]
    pub(super) fn seen(&self, now: Moment) -> Seen {
        let left = Some(self.expires.left(now));
        Seen::Record { head: self.head.clone(), body: Some(self.body.clone()), left }
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
