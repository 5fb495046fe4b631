//! What a record consists of: the head, which the rules read, and the body behind it, which they do not.

use std::time::Duration;

use super::{Fingerprint, Token};

/// Everything that the rules need to know of a record. The body is kept beside it: the steps of a running attempt, or
/// the response of a finished one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// The attempt that wrote the record.
    pub token: Token,
    /// The number of this write among the writes of its attempt.
    pub change: Change,
    /// Whether the attempt runs, has finished, or has freed the key.
    pub state: State,
    /// The fencing token of the attempt, at most [`Head::LARGEST_FENCE`].
    pub fence: u64,
    /// How long the attempt has the key, counted from the last write that did not [keep the expiry](super::Put::keep_expiry).
    /// Zero if the attempt has ended.
    pub lease: Duration,
    /// How long the record is kept, counted from the same write. Never less than `lease`. Zero: the store drops the
    /// record at once.
    pub kept: Duration,
    /// The hash of the request.
    pub fingerprint: Fingerprint,
}

/// What an attempt does with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It runs, or it died while it ran. The body contains the steps that it has saved; it is empty if there are none.
    Running {
        /// An earlier attempt died, or steps are saved.
        recovering: bool,
    },
    /// It has finished. The body is its response.
    Done,
    /// It has freed the key. The record is kept for a short time, so that a command that was held up does not take the
    /// key again, and so that the next fence is larger. The body is empty.
    Freed,
}

/// The number of a write among the writes of one attempt. It grows, so a write that arrives late is recognised: the
/// record has a larger number already.
///
/// A store keeps it as a number, and compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Change(u64);

impl Change {
    /// The claim of a key that was free.
    pub const FIRST: Self = Self(1);
    /// The claim of a key whose attempt died.
    pub const TAKEOVER: Self = Self(2);
    /// The first of the numbers that an attempt counts up: for renewals, saved steps and the end without a response.
    pub const COUNTED: Self = Self(3);
    /// The first of the numbers of an attempt that has ended without a response and keeps its key: so that nothing of it
    /// that arrives late starts its lease again.
    pub const ENDED: Self = Self(8_000_000_000_000_000);
    /// The end with a response.
    pub const COMPLETED: Self = Self(9_000_000_000_000_000);
    /// Another response in place of the attempt's first one.
    pub const REPLACED: Self = Self(9_000_000_000_000_001);
    /// The first of the numbers of an attempt that has freed its key. They are above all others, and each is used once: a
    /// claim over the mark of a freed key fails if the mark was left again meanwhile.
    pub const FREED: Self = Self(9_001_000_000_000_000);

    /// The counted change of an attempt that has ended.
    pub(super) const fn ended(self) -> Self {
        Self(Self::ENDED.0 + self.0 % 1_000_000_000_000_000)
    }

    /// The counted change of an attempt that has freed its key.
    pub(super) const fn freed(self) -> Self {
        Self(Self::FREED.0 + self.0 % 1_000_000_000_000)
    }

    /// A change as a store has kept it.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, at most 16 decimal digits. It fits into the signed integers of databases and into the doubles of Lua.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Identifies one write of a record: no two writes of a key have the same stamp, unless they write the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The attempt that wrote the record.
    pub token: Token,
    /// The number of the write.
    pub change: Change,
}

impl Head {
    /// The largest fencing token: the largest integer that Lua can count to. In microseconds it is the year 2255.
    pub const LARGEST_FENCE: u64 = (1 << 53) - 1;

    /// Identifies this write.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { token: self.token, change: self.change }
    }

    /// The rest of the lease of a record that is kept for `left` from now. Zero once the lease is over.
    #[must_use]
    pub fn lease_left(&self, left: Duration) -> Duration {
        self.lease.saturating_add(left).saturating_sub(self.kept)
    }

    /// If this head begins a claim, raises its fence to `least`, the store's clock in microseconds since 1970. Fences
    /// then grow even if the earlier record of the key is gone.
    pub fn raise_fence(&mut self, least: u64) {
        if self.change < Change::COUNTED {
            self.fence = self.fence.max(least).min(Self::LARGEST_FENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_attempt_has_a_number_above_all_others_of_it() {
        let mut before = Change::REPLACED;
        for count in [3, 4, 999_999_999_999] {
            let freed = Change::new(count).freed();
            assert!(freed > before, "{freed:?}");
            before = freed;
        }
        let ended = Change::new(4).ended();
        assert!(Change::ENDED < Change::new(3).ended() && Change::new(3).ended() < ended && ended < Change::COMPLETED);
        for change in [Change::new(u64::MAX).freed(), Change::new(u64::MAX).ended()] {
            assert!(change.number() < 10_000_000_000_000_000, "{change:?}");
        }
    }

    /// A double has 53 bits for it.
    #[test]
    fn the_largest_fence_is_the_largest_integer_that_lua_counts_to() {
        assert_eq!(Head::LARGEST_FENCE, 9_007_199_254_740_991);
    }

    #[test]
    fn only_a_claim_raises_its_fence() {
        for (change, fence) in [(Change::FIRST, 7), (Change::TAKEOVER, 7), (Change::COUNTED, 1), (Change::COMPLETED, 1)]
        {
            let (token, fingerprint) = (Token::from_bytes([1; 16]), Fingerprint::from_bytes([1; 32]));
            let state = State::Running { recovering: false };
            let (lease, kept) = (Duration::ZERO, Duration::ZERO);
            let mut head = Head { token, change, state, fence: 1, lease, kept, fingerprint };
            head.raise_fence(7);
            assert_eq!(head.fence, fence, "{change:?}");
        }
    }
}
