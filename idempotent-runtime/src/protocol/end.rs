//! Ends an attempt without a response: frees its key, or keeps what is known of it.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Change, ClaimRequest, Expect, Put, ReleaseOutcome, Seen, Stamp, State, StoreError, StoreKey,
    operation::{Operation, Step, Tries},
};

/// How long a store remembers that a key was freed. Longer than a command can be held up on its way to the store.
pub(super) const FREED_FOR: Duration = Duration::from_secs(30);

/// Ends the claim of an attempt.
///
/// ```text
/// ours, running, a first attempt without steps → a release frees the key
/// ours, running, recovering or with steps      → only the lease ends: the next attempt must know of it
/// ours, finished or freed                      → nothing
/// absent, or freed by another attempt          → a release leaves its own mark of a freed key, so that a claim of this
///                                                attempt that is still under way does not take the key
/// another attempt's                            → nothing
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End<'a> {
    request: &'a ClaimRequest,
    fence: u64,
    frees: bool,
    marks: bool,
    tries: Tries,
}

impl<'a> End<'a> {
    /// Frees the key, if no earlier attempt died and no steps are saved.
    ///
    /// `fence` is that of the claim, or zero if the claim got no answer.
    #[must_use]
    pub fn release(request: &'a ClaimRequest, fence: u64) -> Self {
        Self { request, fence, frees: true, marks: false, tries: Tries::default() }
    }

    /// Ends the lease and keeps the record.
    #[must_use]
    pub fn abandon(request: &'a ClaimRequest) -> Self {
        Self { request, fence: 0, frees: false, marks: false, tries: Tries::default() }
    }

    /// Leaves the mark of a freed key where this attempt has no record.
    fn mark(&mut self, expect: Expect, change: Change, fence: u64) -> Step<ReleaseOutcome> {
        self.marks = true;
        self.tries.swap(None, expect, freed(self.request, change, fence))
    }
}

impl Operation for End<'_> {
    type Outcome = ReleaseOutcome;

    fn key(&self) -> &StoreKey {
        &self.request.key
    }

    /// Nearly every release is that of a first claim which nobody has written since, and which then has no steps.
    fn begin(&mut self, count: impl Fn() -> Change) -> Step<ReleaseOutcome> {
        if self.fence == 0 {
            return Step::Read;
        }
        let claim = Stamp { token: self.request.token, change: Change::FIRST };
        let put = Put { urgent: true, ..freed(self.request, count(), self.fence) };
        self.tries.swap(None, Expect::Exactly(claim), put)
    }

    fn met(&mut self, seen: Seen, refused: Option<StoreError>, count: impl Fn() -> Change) -> Step<ReleaseOutcome> {
        let (head, body) = match seen {
            Seen::Absent if self.frees && refused.is_none() => return self.mark(Expect::Absent, count(), 0),
            Seen::Record { head, body, .. } if head.token == self.request.token => (head, body),
            Seen::Record { head, .. } if self.frees && head.state == State::Freed && refused.is_none() => {
                return self.mark(Expect::Exactly(head.stamp()), count(), head.fence);
            }
            Seen::Absent | Seen::Record { .. } | Seen::Unreadable => {
                return Step::answer(ReleaseOutcome::NotOurs);
            }
        };
        let State::Running { recovering } = head.state else { return Step::answer(ReleaseOutcome::NotOurs) };
        self.marks = false;
        let expect = Expect::Exactly(head.stamp());
        let has_steps = body.is_none_or(|steps| !steps.is_empty());
        let put = if self.frees && !recovering && !has_steps {
            Put { urgent: true, ..freed(self.request, count(), head.fence) }
        } else {
            let state = State::Running { recovering: true };
            let ended = self.request.ended(count().ended(), state, head.fence, self.request.ttl);
            Put { body: None, urgent: true, ..Put::new(ended, Bytes::new()) }
        };
        self.tries.swap(refused, expect, put)
    }

    fn written(&mut self, _: u64) -> Step<ReleaseOutcome> {
        Step::answer(if self.marks { ReleaseOutcome::NotOurs } else { ReleaseOutcome::Ended })
    }
}

/// The mark of a key that an attempt has freed.
fn freed(request: &ClaimRequest, change: Change, fence: u64) -> Put {
    Put::new(request.ended(change.freed(), State::Freed, fence, FREED_FOR), Bytes::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Fingerprint;

    #[test]
    fn a_claim_ends_also_when_memory_is_short() {
        let request = ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([1; 32]));
        let held = |body: &'static [u8]| Seen::Record {
            head: request.running(Change::COUNTED, false, 1),
            body: Some(Bytes::from_static(body)),
            left: None,
        };
        let count = || Change::COUNTED;
        for step in [
            End::release(&request, 1).begin(count),
            End::release(&request, 1).met(held(b""), None, count),
            End::release(&request, 1).met(held(b"steps"), None, count),
            End::abandon(&request).met(held(b""), None, count),
        ] {
            assert!(matches!(step, Step::Swap(_, Put { urgent: true, .. })), "{step:?}");
        }
    }

    #[test]
    fn only_a_release_marks_a_key_without_a_record() {
        let request = ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([1; 32]));
        let marked = End::release(&request, 0).met(Seen::Absent, None, || Change::COUNTED);
        assert!(matches!(marked, Step::Swap(Expect::Absent, _)), "{marked:?}");
        let left = End::abandon(&request).met(Seen::Absent, None, || Change::COUNTED);
        assert!(matches!(left, Step::Answer(Ok(ReleaseOutcome::NotOurs))), "{left:?}");
    }
}
