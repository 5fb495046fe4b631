//! Ends an attempt with a response, and replaces that response by another one.

use bytes::Bytes;

use super::{
    Change, ClaimRequest, CompleteOutcome, Expect, Put, Seen, Stamp, State, StoreError, StoreKey,
    operation::{Operation, Step, Tries},
};

/// Writes the response of an attempt.
///
/// ```text
/// ours, running     → write it
/// ours, finished    → keep the first response: the answer to an earlier try was lost
/// ours, freed       → write it: the attempt has learned since then that its effect has happened
/// absent, or freed by another attempt
///                   → write it: the store has lost the claim, and the effect has happened
/// another attempt's → Lost
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Complete<'a> {
    request: &'a ClaimRequest,
    fence: u64,
    record: Bytes,
    tries: Tries,
}

impl<'a> Complete<'a> {
    /// `fence` is that of the claim.
    #[must_use]
    pub fn new(request: &'a ClaimRequest, fence: u64, record: Bytes) -> Self {
        Self { request, fence, record, tries: Tries::default() }
    }

    fn write(&mut self, refused: Option<StoreError>, expect: Expect) -> Step<CompleteOutcome> {
        let put = done(self.request, Change::COMPLETED, self.fence, self.record.clone());
        self.tries.swap(refused, expect, put)
    }

    fn over_own(&mut self, refused: Option<StoreError>) -> Step<CompleteOutcome> {
        self.write(refused, Expect::Owner { token: self.request.token, before: Change::COMPLETED })
    }
}

impl Operation for Complete<'_> {
    type Outcome = CompleteOutcome;

    fn key(&self) -> &StoreKey {
        &self.request.key
    }

    fn begin(&mut self, _: impl Fn() -> Change) -> Step<CompleteOutcome> {
        self.over_own(None)
    }

    fn met(&mut self, seen: Seen, refused: Option<StoreError>, _: impl Fn() -> Change) -> Step<CompleteOutcome> {
        match seen {
            Seen::Absent => self.write(refused, Expect::Absent),
            Seen::Record { head, .. } if head.token == self.request.token => match head.state {
                // It was created again meanwhile.
                State::Running { .. } => self.over_own(refused),
                State::Done => Step::answer(CompleteOutcome::AlreadyStored),
                // The attempt learned only after its release that its effect is committed.
                State::Freed => self.write(refused, Expect::Exactly(head.stamp())),
            },
            Seen::Record { head, .. } if head.state == State::Freed => {
                self.write(refused, Expect::Exactly(head.stamp()))
            }
            Seen::Record { .. } | Seen::Unreadable => Step::answer(CompleteOutcome::Lost),
        }
    }

    fn written(&mut self, _: u64) -> Step<CompleteOutcome> {
        Step::answer(CompleteOutcome::Stored)
    }
}

/// Writes another response in place of the attempt's first one. Nothing else is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Replace<'a> {
    request: &'a ClaimRequest,
    fence: u64,
    record: Bytes,
    tried: bool,
}

impl<'a> Replace<'a> {
    pub(crate) fn new(request: &'a ClaimRequest, fence: u64, record: Bytes) -> Self {
        Self { request, fence, record, tried: false }
    }

    fn write(&mut self) -> Step<CompleteOutcome> {
        self.tried = true;
        let first = Stamp { token: self.request.token, change: Change::COMPLETED };
        Step::Swap(Expect::Exactly(first), done(self.request, Change::REPLACED, self.fence, self.record.clone()))
    }
}

impl Operation for Replace<'_> {
    type Outcome = CompleteOutcome;

    fn key(&self) -> &StoreKey {
        &self.request.key
    }

    fn begin(&mut self, _: impl Fn() -> Change) -> Step<CompleteOutcome> {
        self.write()
    }

    fn met(&mut self, seen: Seen, refused: Option<StoreError>, _: impl Fn() -> Change) -> Step<CompleteOutcome> {
        let Seen::Record { head, .. } = seen else { return Step::answer(CompleteOutcome::Lost) };
        let replaced = Stamp { token: self.request.token, change: Change::REPLACED };
        let ours = head.token == self.request.token;
        match (head.state, head.stamp() == replaced, refused) {
            // The answer to an earlier try was lost.
            (_, true, _) => Step::answer(CompleteOutcome::Stored),
            (State::Done, _, None) if ours && !self.tried => self.write(),
            (State::Done, _, Some(error)) if ours => Step::Answer(Err(error)),
            _ => Step::answer(CompleteOutcome::Lost),
        }
    }

    fn written(&mut self, _: u64) -> Step<CompleteOutcome> {
        Step::answer(CompleteOutcome::Stored)
    }
}

/// A finished record, which is kept for the ttl.
#[inline]
fn done(request: &ClaimRequest, change: Change, fence: u64, record: Bytes) -> Put {
    let head = super::Head { lease: request.lease, ..request.ended(change, State::Done, fence, request.ttl) };
    Put { urgent: true, ..Put::new(head, record) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Fingerprint, Token};

    const TTL: std::time::Duration = std::time::Duration::from_secs(60);

    fn request() -> ClaimRequest {
        ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([1; 32]))
    }

    /// Another attempt at the same key.
    fn another() -> ClaimRequest {
        ClaimRequest { token: Token::from_bytes([1; 16]), ..request() }
    }

    /// A record of this attempt that has ended.
    fn ended(request: &ClaimRequest, state: State, change: Change) -> Seen {
        Seen::Record { head: request.ended(change, state, 1, TTL), body: Some(Bytes::new()), left: None }
    }

    fn replaces(request: &ClaimRequest) -> Replace<'_> {
        Replace::new(request, 1, Bytes::from_static(b"whole"))
    }

    #[test]
    fn a_response_is_written_over_the_mark_of_a_key_that_another_attempt_has_freed() {
        let (request, other) = (request(), another());
        let freed = ended(&other, State::Freed, Change::FREED);
        let step = Complete::new(&request, 1, Bytes::new()).met(freed, None, || Change::COUNTED);
        assert!(matches!(step, Step::Swap(Expect::Exactly(_), Put { urgent: true, .. })), "{step:?}");
    }

    #[test]
    fn only_the_attempts_own_response_is_replaced_and_only_once() {
        let (request, other) = (request(), another());
        let count = || Change::COUNTED;
        let own = || ended(&request, State::Done, Change::COMPLETED);
        let mut replace = replaces(&request);
        let step = replace.met(own(), None, count);
        assert!(matches!(step, Step::Swap(Expect::Exactly(_), Put { urgent: true, .. })), "{step:?}");
        let step = replace.met(own(), None, count);
        assert!(matches!(step, Step::Answer(Ok(CompleteOutcome::Lost))), "{step:?}");
        for refused in [None, Some(StoreError::Timeout)] {
            let theirs = ended(&other, State::Done, Change::COMPLETED);
            let step = replaces(&request).met(theirs, refused, count);
            assert!(matches!(step, Step::Answer(Ok(CompleteOutcome::Lost))), "{step:?}");
        }
        let step = replaces(&request).met(own(), Some(StoreError::Timeout), count);
        assert!(matches!(step, Step::Answer(Err(StoreError::Timeout))), "{step:?}");
    }
}
