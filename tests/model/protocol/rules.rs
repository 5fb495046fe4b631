//! The rules of the protocol, so that each can be left out once: the search must then find a promise that breaks.

use std::time::Duration;

use bytes::Bytes;
use idempotent_runtime::store::{Change, Expect, Head, Put, Seen, State};

/// A rule of the protocol that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// A swap that expects no record writes over any record.
    AbsentCompared,
    /// A swap that expects an attempt's own record writes over any record.
    OwnerCompared,
    /// A swap that expects an attempt's own record does not compare its change.
    ChangeCompared,
    /// A swap that expects one stamp compares the token only.
    StampCompared,
    /// A renewal leaves the change of the record as it is.
    RenewalRaisesChange,
    /// The end with a response has the attempt's next change instead of the largest.
    CompletionIsLast,
    /// The mark of a freed key has the change of a first claim instead of the largest.
    FreedIsLast,
    /// A release deletes the record, and leaves no mark.
    FreedIsMarked,
    /// A release that finds no record leaves no mark.
    AbsentIsMarked,
    /// The mark of a freed key has no fence.
    MarkKeepsFence,
    /// The claim of a freed key does not raise its fence.
    FenceGrowsOverMark,
    /// A takeover does not raise the fence.
    FenceGrowsAtTakeover,
    /// A lost claim is created again by a command of any age.
    RecreationIsTimed,
    /// A lease is taken over before it is over.
    TakeoverWaits,
    /// A takeover is not told that an earlier attempt died.
    TakeoverRecovers,
    /// A takeover drops the steps.
    TakeoverKeepsSteps,
    /// A release of a takeover frees the key.
    ReleaseKeepsDeaths,
    /// A release frees a key with steps.
    ReleaseKeepsSteps,
    /// Another request gets the key, or its response.
    FingerprintCompared,
}

impl Without {
    /// Every rule.
    pub(super) const ALL: [Self; 19] = [
        Self::AbsentCompared,
        Self::OwnerCompared,
        Self::ChangeCompared,
        Self::StampCompared,
        Self::RenewalRaisesChange,
        Self::CompletionIsLast,
        Self::FreedIsLast,
        Self::FreedIsMarked,
        Self::AbsentIsMarked,
        Self::MarkKeepsFence,
        Self::FenceGrowsOverMark,
        Self::FenceGrowsAtTakeover,
        Self::RecreationIsTimed,
        Self::TakeoverWaits,
        Self::TakeoverRecovers,
        Self::TakeoverKeepsSteps,
        Self::ReleaseKeepsDeaths,
        Self::ReleaseKeepsSteps,
        Self::FingerprintCompared,
    ];

    /// Whether a register without this rule writes over what it sees.
    pub(super) fn allows(without: Option<Self>, expect: &Expect, seen: &Seen) -> bool {
        match (without, expect, seen) {
            (Some(Self::AbsentCompared), Expect::Absent, _) => true,
            (Some(Self::OwnerCompared), Expect::Owner { before, .. }, Seen::Record { head, .. }) => {
                head.change < *before
            }
            (Some(Self::ChangeCompared), Expect::Owner { token, .. }, Seen::Record { head, .. }) => {
                head.token == *token
            }
            (Some(Self::StampCompared), Expect::Exactly(stamp), Seen::Record { head, .. }) => head.token == stamp.token,
            _ => expect.allows(seen),
        }
    }

    /// What an operation without this rule writes, as its `number`th change. `None` if it writes nothing.
    pub(super) fn put(without: Option<Self>, expect: &Expect, seen: &Seen, put: &Put, number: u64) -> Option<Put> {
        let mut put = put.clone();
        let head = &mut put.head;
        let is_takeover = head.change == Change::TAKEOVER;
        match without {
            Some(Self::RenewalRaisesChange) if put.body.is_none() && !is_takeover && !head.lease.is_zero() => {
                if let Seen::Record { head: Head { change, .. }, .. } = seen {
                    head.change = *change;
                }
            }
            Some(Self::CompletionIsLast) if head.state == State::Done => head.change = Change::new(number),
            Some(Self::FreedIsLast) if head.state == State::Freed => head.change = Change::FIRST,
            Some(Self::FreedIsMarked) if head.state == State::Freed && *expect != Expect::Absent => {
                head.kept = Duration::ZERO;
            }
            Some(Self::AbsentIsMarked) if head.state == State::Freed && *expect == Expect::Absent => return None,
            Some(Self::MarkKeepsFence) if head.state == State::Freed => head.fence = 0,
            Some(Self::FenceGrowsOverMark) if head.change == Change::FIRST => head.fence = 1,
            Some(Self::FenceGrowsAtTakeover) if is_takeover => head.fence = 1,
            Some(Self::RecreationIsTimed) => put.not_after = None,
            Some(Self::TakeoverRecovers) if is_takeover => head.state = State::Running { recovering: false },
            Some(Self::TakeoverKeepsSteps) if is_takeover => put.body = Some(Bytes::new()),
            _ => {}
        }
        Some(put)
    }

    /// What an operation sees that does not look at what this rule is about.
    pub(super) fn seen(without: Option<Self>, mut seen: Seen, by: &Head, ends: bool) -> Seen {
        let Seen::Record { head, body, left } = &mut seen else { return seen };
        match without {
            Some(Self::TakeoverWaits) if !ends => *left = Some(head.kept.saturating_sub(head.lease)),
            Some(Self::ReleaseKeepsDeaths) if ends && body.as_ref().is_none_or(Bytes::is_empty) => {
                set_fresh(head);
            }
            Some(Self::ReleaseKeepsSteps) if ends && body.as_ref().is_some_and(|body| !body.is_empty()) => {
                set_fresh(head);
                *body = Some(Bytes::new());
            }
            Some(Self::FingerprintCompared) => head.fingerprint = by.fingerprint,
            _ => {}
        }
        seen
    }
}

fn set_fresh(head: &mut Head) {
    if let State::Running { recovering } = &mut head.state {
        *recovering = false;
    }
}
