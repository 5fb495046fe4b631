//! What a store is asked to do with the record of a key, and what it answers.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{Change, Head, Stamp, StoreError, Token};

/// What a store found under a key. `Debug` prints only the length of a body.
#[derive(Clone, PartialEq, Eq)]
pub enum Seen {
    /// There is no record, or it has expired.
    Absent,
    /// There is something that the store cannot read as a record, or a record that would never expire.
    Unreadable,
    /// There is a record.
    Record {
        /// Its head.
        head: Head,
        /// Its body. `None` if it cannot be decrypted; a store itself always returns it.
        body: Option<Bytes>,
        /// How long the record is still kept, by the store's clock. A [`read`](crate::Store) returns it. A store whose
        /// fastest command does not tell it may return `None` from a swap: the record is then read if necessary.
        left: Option<Duration>,
    },
}

/// What must be under the key, so that a swap writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expect {
    /// No record, or one that has expired.
    Absent,
    /// A record of this attempt with a smaller change.
    Owner {
        /// The attempt.
        token: Token,
        /// The record's change is smaller than this one.
        before: Change,
    },
    /// The record with exactly this stamp.
    Exactly(Stamp),
    /// Something that the store cannot read.
    Unreadable,
}

/// What a swap writes. `Debug` prints only the length of a body.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Put {
    /// The new head.
    pub head: Head,
    /// The new body. `None` keeps the body that is there.
    pub body: Option<Bytes>,
    /// `false`: the record expires when [`Head::kept`] has passed from now. `true`: it expires when it would have
    /// expired without this write.
    pub keep_expiry: bool,
    /// The write must be possible even if the store is short of memory, because an effect has happened already, or
    /// because it takes hardly more memory than the record that it replaces.
    pub urgent: bool,
    /// The last moment, by the store's clock, at which this write is right. If it arrives later, the answer is
    /// [`Swapped::Late`].
    pub not_after: Option<SystemTime>,
}

/// A record to be written, as [`Put::over`] makes it.
#[non_exhaustive]
pub struct Write {
    /// The head, with its fence raised.
    pub head: Head,
    /// The body, which may be the one that was there.
    pub body: Bytes,
    /// How long the record is kept from now, in whole milliseconds. Zero: it is dropped at once.
    pub keep: Duration,
}

impl Write {
    /// The head and the body as bytes, which [`Head::decode`] reads.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.head.encode(!self.body.is_empty()), &self.body[..]].concat()
    }
}

/// The answer to a swap.
#[derive(Debug)]
pub enum Swapped {
    /// It was written.
    Done {
        /// The fence that was written. It is larger than that of [`Put::head`] if the store has
        /// [raised](Head::raise_fence) it.
        fence: u64,
    },
    /// Nothing was written: this is under the key instead of what was expected.
    Found(Seen),
    /// Nothing was written: [`Put::not_after`] has passed.
    Late,
    /// The store cannot write now, but can read: this is under the key. So finished requests are still answered while
    /// the store is full or read-only, or while a transaction has locked the record.
    Refused(Seen, StoreError),
}

impl Expect {
    /// Whether a swap may write over this. For stores that read a record and write it under a lock or in a transaction.
    #[must_use]
    pub fn allows(&self, seen: &Seen) -> bool {
        match (self, seen) {
            (Self::Absent, Seen::Absent) | (Self::Unreadable, Seen::Unreadable) => true,
            (_, Seen::Record { head, .. }) => self.allows_stamp(head.stamp()),
            _ => false,
        }
    }

    /// Whether a swap may write over a record with this stamp.
    #[must_use]
    #[inline]
    pub fn allows_stamp(&self, seen: Stamp) -> bool {
        match self {
            Self::Owner { token, before } => seen.token == *token && seen.change < *before,
            Self::Exactly(stamp) => seen == *stamp,
            Self::Absent | Self::Unreadable => false,
        }
    }
}

impl Put {
    /// Writes a head and a body, which expire after [`Head::kept`]. Not urgent, and right at any time.
    #[must_use]
    #[inline]
    pub fn new(head: Head, body: Bytes) -> Self {
        Self { head, body: Some(body), keep_expiry: false, urgent: false, not_after: None }
    }

    /// What is to be written over the record that is there. `Err`: nothing is written, and this is the answer.
    ///
    /// It is the whole of a swap for a store that reads a record and writes it in one atomic step. `now` is the store's
    /// clock.
    ///
    /// # Errors
    /// [`Swapped::Late`] or [`Swapped::Found`].
    #[allow(clippy::result_large_err)] // it is moved once, and a box would be another allocation
    pub fn over(&self, seen: Seen, expect: &Expect, now: SystemTime) -> Result<Write, Swapped> {
        if self.is_late(now) {
            return Err(Swapped::Late);
        }
        if !expect.allows(&seen) {
            return Err(Swapped::Found(seen));
        }
        let mut head = self.head.clone();
        head.raise_fence(micros_since_1970(now));
        let (before, left) = match seen {
            Seen::Record { body, left, .. } => (body, left),
            Seen::Absent | Seen::Unreadable => (None, None),
        };
        let keep = left.filter(|_| self.keep_expiry).unwrap_or(Duration::from_millis(head.kept_millis()));
        let body = self.body.clone().or(before).unwrap_or_default();
        Ok(Write { head, body, keep })
    }

    /// Whether the write arrives too late, at this moment of the store's clock.
    #[must_use]
    pub fn is_late(&self, now: SystemTime) -> bool {
        self.not_after.is_some_and(|last| now > last)
    }
}

/// Microseconds since 1970: as stores keep a moment, and what fences are raised to.
pub(crate) fn micros_since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Unreadable => f.write_str("Unreadable"),
            Self::Record { head, body, left } => {
                let body = body.as_ref().map(Bytes::len);
                f.debug_struct("Record").field("head", head).field("body", &body).field("left", left).finish()
            }
        }
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, body, keep } = self;
        f.debug_struct("Write").field("head", head).field("body", &body.len()).field("keep", keep).finish()
    }
}

impl fmt::Debug for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, body, keep_expiry, urgent, not_after } = self;
        let body = body.as_ref().map(Bytes::len);
        let mut shown = f.debug_struct("Put");
        shown.field("head", head).field("body", &body).field("keep_expiry", keep_expiry);
        shown.field("urgent", urgent).field("not_after", not_after).finish()
    }
}
