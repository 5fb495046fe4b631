//! Ends an attempt with a response, and replaces that response by another one.

use bytes::Bytes;

use super::{
    Change, ClaimRequest, CompleteOutcome, Expect, Put, Seen, Stamp, State, StoreError, StoreKey,
    operation::{Met, Operation, Reply, Step, Stepped, Tries},
};

/// Writes the response of an attempt.
///
/// ```text
/// ours, running     → write it
/// ours, finished    → keep the first response: the answer to an earlier try was lost
/// ours, freed       → Lost
/// absent            → write it: the store has lost the claim, and the effect has happened
/// another attempt's → Lost
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Complete<'a> {
    request: &'a ClaimRequest,
    fence: u64,
    record: Bytes,
    tries: Tries,
}

impl<'a> Complete<'a> {
    pub(crate) fn new(request: &'a ClaimRequest, fence: u64, record: Bytes) -> Self {
        Self { request, fence, record, tries: Tries::default() }
    }

    fn write(&mut self, refused: Option<StoreError>, expect: Expect) -> Step<CompleteOutcome> {
        let put = done(self.request, Change::COMPLETED, self.fence, self.record.clone());
        self.tries.swap(refused, expect, put)
    }

    fn over_own(&mut self, refused: Option<StoreError>) -> Step<CompleteOutcome> {
        self.write(refused, Expect::Owner { token: self.request.token, before: Change::COMPLETED })
    }

    fn decide(&mut self, Met { seen, refused }: Met) -> Step<CompleteOutcome> {
        match seen {
            Seen::Absent => self.write(refused, Expect::Absent),
            Seen::Record { head, .. } if head.token == self.request.token => match head.state {
                // It was created again meanwhile.
                State::Running { .. } => self.over_own(refused),
                State::Done => Step::Answer(Ok(CompleteOutcome::AlreadyStored)),
                State::Freed => Step::Answer(Ok(CompleteOutcome::Lost)),
            },
            Seen::Record { .. } | Seen::Unreadable => Step::Answer(Ok(CompleteOutcome::Lost)),
        }
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

    fn next(&mut self, reply: Reply, _: impl Fn() -> Change) -> Step<CompleteOutcome> {
        match reply.stepped() {
            Ok(Stepped::Written { .. }) => Step::Answer(Ok(CompleteOutcome::Stored)),
            Ok(Stepped::Met(met)) => self.decide(met),
            Err(error) => Step::Answer(Err(error)),
        }
    }
}

/// Writes another response in place of the attempt's first one. Nothing else is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Replace<'a> {
    request: &'a ClaimRequest,
    fence: u64,
    record: Bytes,
}

impl<'a> Replace<'a> {
    pub(crate) fn new(request: &'a ClaimRequest, fence: u64, record: Bytes) -> Self {
        Self { request, fence, record }
    }
}

impl Operation for Replace<'_> {
    type Outcome = CompleteOutcome;

    fn key(&self) -> &StoreKey {
        &self.request.key
    }

    fn begin(&mut self, _: impl Fn() -> Change) -> Step<CompleteOutcome> {
        let first = Stamp { token: self.request.token, change: Change::COMPLETED };
        Step::Swap(Expect::Exactly(first), done(self.request, Change::REPLACED, self.fence, self.record.clone()))
    }

    fn next(&mut self, reply: Reply, _: impl Fn() -> Change) -> Step<CompleteOutcome> {
        let replaced = Stamp { token: self.request.token, change: Change::REPLACED };
        Step::Answer(match reply.stepped() {
            Ok(Stepped::Written { .. }) => Ok(CompleteOutcome::Stored),
            Ok(Stepped::Met(Met { seen: Seen::Record { head, .. }, refused })) => {
                match (head.stamp() == replaced, head.token == self.request.token, refused) {
                    // The answer to an earlier try was lost.
                    (true, _, _) => Ok(CompleteOutcome::Stored),
                    (false, true, Some(error)) => Err(error),
                    _ => Ok(CompleteOutcome::Lost),
                }
            }
            Ok(Stepped::Met(_)) => Ok(CompleteOutcome::Lost),
            Err(error) => Err(error),
        })
    }
}

/// A finished record, which is kept for the ttl.
fn done(request: &ClaimRequest, change: Change, fence: u64, record: Bytes) -> Put {
    let head = super::Head { lease: request.lease, ..request.ended(change, State::Done, fence, request.ttl) };
    Put { urgent: true, ..Put::new(head, record) }
}
