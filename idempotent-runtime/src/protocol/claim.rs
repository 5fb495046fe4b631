//! Claims a key, or takes it over from an attempt whose lease is over.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Acquired, Change, ClaimOutcome, ClaimRequest, Expect, Head, Put, Seen, State, StoreError, StoreKey,
    operation::{Operation, Step, Tries},
};
use crate::config::policy::Takeover;

/// Claims the key of a request.
///
/// ```text
/// absent                        → write the claim
/// freed by an earlier attempt   → write the claim over it, with a larger fence
/// another request's             → OtherRequest
/// finished                      → Done
/// ours                          → Acquired: the answer to an earlier try was lost
/// another attempt's, in lease   → Running
/// another attempt's, lease over → take it over, with a larger fence and the steps that it saved
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim<'a> {
    request: &'a ClaimRequest,
    /// What the next attempt inherits. `None` while the claim is that of a free key.
    inherited: Option<Bytes>,
    tries: Tries,
}

impl<'a> Claim<'a> {
    /// Starts with nothing known of the key.
    #[must_use]
    pub fn new(request: &'a ClaimRequest) -> Self {
        Self { request, inherited: None, tries: Tries::default() }
    }

    /// The claim of a key that is free.
    #[inline]
    fn first(&mut self, refused: Option<StoreError>, expect: Expect, fence: u64) -> Step<ClaimOutcome> {
        self.inherited = None;
        let head = self.request.running(Change::FIRST, false, fence);
        self.tries.swap(refused, expect, Put::new(head, Bytes::new()))
    }

    fn decide(&mut self, seen: Seen, refused: Option<StoreError>) -> Step<ClaimOutcome> {
        let (head, body, left) = match seen {
            Seen::Absent => return self.first(refused, Expect::Absent, 1),
            Seen::Unreadable => return Step::answer(ClaimOutcome::Unreadable),
            Seen::Record { head, body, left } => (head, body, left),
        };
        let ours = head.token == self.request.token;
        match head.state {
            // Its stamp would be that of the next release as well.
            State::Freed if ours => Step::Answer(Err(StoreError::Refused("this attempt has freed its key".into()))),
            State::Freed => match next_fence(&head) {
                Some(fence) => self.first(refused, Expect::Exactly(head.stamp()), fence),
                None => Step::answer(ClaimOutcome::Unreadable),
            },
            // Also if the token is ours: who can write to the store could have put another request's record behind it.
            _ if head.fingerprint != self.request.fingerprint => Step::answer(ClaimOutcome::OtherRequest),
            State::Done => Step::answer(body.map_or(ClaimOutcome::Unreadable, ClaimOutcome::Done)),
            State::Running { recovering } if ours => match (body, refused) {
                // A replica may lag behind. A claim that looks like ours there may have been taken over.
                (_, Some(error @ StoreError::Refused(_))) => Step::Answer(Err(error)),
                (None, _) => Step::answer(ClaimOutcome::Unreadable),
                (Some(steps), _) => {
                    let recovering = recovering || !steps.is_empty();
                    Step::answer(ClaimOutcome::Acquired(Acquired { fence: head.fence, recovering, steps }))
                }
            },
            State::Running { .. } => match (left.map(|left| head.lease_left(left)), refused) {
                (None, None) => self.tries.read(),
                (None, Some(error)) => Step::Answer(Err(error)),
                (Some(Duration::ZERO), refused) => self.take_over(&head, body, refused),
                (Some(left), _) => Step::answer(ClaimOutcome::Running { left }),
            },
        }
    }

    fn take_over(&mut self, dead: &Head, steps: Option<Bytes>, refused: Option<StoreError>) -> Step<ClaimOutcome> {
        let may_lag = matches!(refused, Some(StoreError::Refused(_)));
        if self.request.takeover == Takeover::Refuse && !may_lag {
            return Step::answer(ClaimOutcome::Died);
        }
        // A takeover writes hardly more bytes than it replaces, so it is tried when the store is short of memory. If
        // it cannot write at all, an error would claim that nothing is known of the key.
        if refused.is_some_and(|error| !matches!(error, StoreError::Full(_))) {
            return Step::answer(ClaimOutcome::Running { left: Duration::ZERO });
        }
        let (Some(steps), Some(fence)) = (steps, next_fence(dead)) else {
            return Step::answer(ClaimOutcome::Unreadable);
        };
        let head = self.request.running(Change::TAKEOVER, true, fence);
        // If the swap succeeds, the record has not changed since it was read. So the steps need not be sent.
        let body = steps.is_empty().then(Bytes::new);
        let put = Put { body, urgent: true, ..Put::new(head, Bytes::new()) };
        self.inherited = Some(steps);
        self.tries.swap(None, Expect::Exactly(dead.stamp()), put)
    }
}

impl Operation for Claim<'_> {
    type Outcome = ClaimOutcome;

    fn key(&self) -> &StoreKey {
        &self.request.key
    }

    fn claims(&self) -> Option<&ClaimRequest> {
        Some(self.request)
    }

    fn begin(&mut self, _: impl Fn() -> Change) -> Step<ClaimOutcome> {
        self.first(None, Expect::Absent, 1)
    }

    fn met(&mut self, seen: Seen, refused: Option<StoreError>, _: impl Fn() -> Change) -> Step<ClaimOutcome> {
        self.decide(seen, refused)
    }

    fn written(&mut self, fence: u64) -> Step<ClaimOutcome> {
        let (recovering, steps) = (self.inherited.is_some(), self.inherited.take().unwrap_or_default());
        Step::answer(ClaimOutcome::Acquired(Acquired { fence, recovering, steps }))
    }
}

/// The least fence of the next attempt. `None` if there is no larger one.
fn next_fence(head: &Head) -> Option<u64> {
    head.fence.checked_add(1).filter(|fence| *fence <= Head::LARGEST_FENCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Fingerprint, Token};

    #[test]
    fn a_store_that_never_says_how_long_it_keeps_a_record_is_not_read_for_ever() {
        let request = ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([1; 32]));
        let mut other = ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([1; 32]));
        other.token = Token::from_bytes([1; 16]);
        let running = other.running(Change::FIRST, false, 1);
        let mut claim = Claim::new(&request);
        let mut meet = || {
            let seen = Seen::Record { head: running.clone(), body: Some(Bytes::new()), left: None };
            claim.met(seen, None, || Change::COUNTED)
        };
        assert!(matches!(meet(), Step::Read));
        assert!((0..20).any(|_| matches!(meet(), Step::Answer(Err(StoreError::Timeout)))));
    }

    #[test]
    fn another_requests_record_is_not_answered_if_it_has_the_own_token() {
        let request = ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([1; 32]));
        for state in [State::Done, State::Running { recovering: true }] {
            let mut forged = request.running(Change::FIRST, true, 1);
            (forged.fingerprint, forged.state) = (Fingerprint::from_bytes([2; 32]), state);
            let seen = Seen::Record { head: forged, body: Some(Bytes::from_static(b"theirs")), left: None };
            let step = Claim::new(&request).met(seen, None, || Change::COUNTED);
            assert!(matches!(step, Step::Answer(Ok(ClaimOutcome::OtherRequest))), "{step:?}");
        }
    }

    #[test]
    fn an_attempt_that_has_freed_its_key_does_not_claim_it_again() {
        let request = ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([1; 32]));
        let freed = request.ended(Change::COUNTED.freed(), State::Freed, 1, Duration::from_secs(1));
        let seen = Seen::Record { head: freed, body: Some(Bytes::new()), left: Some(Duration::from_secs(1)) };
        let step = Claim::new(&request).met(seen, None, || Change::COUNTED);
        assert!(matches!(step, Step::Answer(Err(StoreError::Refused(_)))), "{step:?}");
    }

    #[test]
    fn a_takeover_is_tried_when_memory_is_short() {
        let request = ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([1; 32]));
        let mut dead = request.running(Change::FIRST, false, 1);
        dead.token = Token::from_bytes([1; 16]);
        let seen = Seen::Record { head: dead, body: Some(Bytes::new()), left: Some(Duration::ZERO) };
        let step = Claim::new(&request).met(seen, Some(StoreError::Full("no memory")), || Change::COUNTED);
        assert!(matches!(step, Step::Swap(Expect::Exactly(_), Put { urgent: true, .. })), "{step:?}");
    }
}
