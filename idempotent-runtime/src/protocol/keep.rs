//! Renews the lease of a claim, and saves the steps of its handler.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{
    Acquired, Change, ClaimRequest, Expect, Put, RenewOutcome, SaveOutcome, Seen, State, StoreError, StoreKey,
    operation::{Operation, Step, Tries},
};

/// How long a command may be under way that creates a lost claim again. Shorter than a freed key is remembered
/// ([`FREED_FOR`](super::end::FREED_FOR)), so that it never creates again what was freed meanwhile.
const RECREATED_WITHIN: Duration = Duration::from_secs(10);

/// Writes the running record of an attempt again: with its lease started anew, or with other steps.
///
/// ```text
/// ours, running           → write it, with the attempt's next change; the body, or the expiry, stays
/// ours, given up          → save the steps, for the next attempt; start no lease
/// ours, finished or freed → nothing
/// absent                  → create it again, but not if the command arrives late
/// another attempt's       → the claim is lost
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keep<'a> {
    request: &'a ClaimRequest,
    held: Acquired,
    saves: bool,
    /// What a free key looks like, if the record is to be created again.
    creates: Option<Expect>,
    tries: Tries,
}

/// The result of a renewal or a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is written over the record that was there.
    Written,
    /// The store had lost the record. It has been created again.
    Recreated,
    /// The attempt has ended.
    Ended,
    /// Another attempt has the key.
    Lost,
}

impl<'a> Keep<'a> {
    /// Starts the lease again.
    #[must_use]
    pub fn renew(request: &'a ClaimRequest, held: Acquired) -> Self {
        Self { request, held, saves: false, creates: None, tries: Tries::default() }
    }

    /// Saves these steps, and does not start the lease again.
    #[must_use]
    pub fn save(request: &'a ClaimRequest, fence: u64, steps: Bytes) -> Self {
        let held = Acquired { fence, recovering: true, steps };
        Self { request, held, saves: true, creates: None, tries: Tries::default() }
    }

    /// Writes over the attempt's own record.
    fn write(&mut self, refused: Option<StoreError>, change: Change) -> Step<Kept> {
        self.creates = None;
        let head = self.request.running(change, self.held.recovering, self.held.fence);
        let put = Put {
            body: self.saves.then(|| self.held.steps.clone()),
            keep_expiry: self.saves,
            // A renewal writes no more than it replaces, and the effects of steps have happened.
            urgent: true,
            ..Put::new(head, Bytes::new())
        };
        self.tries.swap(refused, Expect::Owner { token: self.request.token, before: change }, put)
    }

    /// Creates the record again over a free key. The clock is read first.
    fn create(&mut self, refused: Option<StoreError>, free: Expect) -> Step<Kept> {
        if let Some(error) = refused {
            return Step::Answer(Err(error));
        }
        self.creates = Some(free);
        Step::Clock
    }
}

impl Operation for Keep<'_> {
    type Outcome = Kept;

    fn key(&self) -> &StoreKey {
        &self.request.key
    }

    fn begin(&mut self, count: impl Fn() -> Change) -> Step<Kept> {
        self.write(None, count())
    }

    fn met(&mut self, seen: Seen, refused: Option<StoreError>, count: impl Fn() -> Change) -> Step<Kept> {
        match seen {
            Seen::Absent => self.create(refused, Expect::Absent),
            Seen::Record { head, .. } if head.token == self.request.token => match head.state {
                State::Running { .. } if head.change < Change::ENDED => self.write(refused, count()),
                // Steps that were saved only now are not lost.
                State::Running { .. } if self.saves => self.write(refused, count().ended()),
                State::Running { .. } | State::Done | State::Freed => Step::answer(Kept::Ended),
            },
            Seen::Record { head, .. } if head.state == State::Freed => {
                self.create(refused, Expect::Exactly(head.stamp()))
            }
            Seen::Record { .. } | Seen::Unreadable => Step::answer(Kept::Lost),
        }
    }

    fn written(&mut self, _: u64) -> Step<Kept> {
        Step::answer(if self.creates.is_some() { Kept::Recreated } else { Kept::Written })
    }

    fn clock(&mut self, now: SystemTime, count: impl Fn() -> Change) -> Step<Kept> {
        let free = self.creates.clone().unwrap_or(Expect::Absent);
        let head = self.request.running(count(), self.held.recovering, self.held.fence);
        let put = Put {
            urgent: !self.held.steps.is_empty(),
            not_after: now.checked_add(RECREATED_WITHIN.min(self.request.lease / 3)),
            ..Put::new(head, self.held.steps.clone())
        };
        self.tries.swap(None, free, put)
    }
}

impl From<Kept> for RenewOutcome {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Written => Self::Renewed,
            Kept::Recreated => Self::Recreated,
            Kept::Ended => Self::Completed,
            Kept::Lost => Self::Lost,
        }
    }
}

impl From<Kept> for SaveOutcome {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Written | Kept::Recreated => Self::Saved,
            Kept::Ended | Kept::Lost => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Fingerprint;

    fn request() -> ClaimRequest {
        ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([1; 32]))
    }

    fn seen(request: &ClaimRequest, change: Change) -> Seen {
        Seen::Record { head: request.running(change, true, 1), body: Some(Bytes::new()), left: None }
    }

    #[test]
    fn an_attempt_that_has_ended_saves_steps_and_starts_no_lease() {
        let request = request();
        let held = Acquired { fence: 1, recovering: true, steps: Bytes::new() };
        let ended = || seen(&request, Change::COUNTED.ended());
        let renewal = Keep::renew(&request, held).met(ended(), None, || Change::COUNTED);
        assert!(matches!(renewal, Step::Answer(Ok(Kept::Ended))), "{renewal:?}");
        let save = Keep::save(&request, 1, Bytes::from_static(b"steps")).met(ended(), None, || Change::COUNTED);
        let Step::Swap(_, put) = save else { panic!("{save:?}") };
        assert!(put.head.change > Change::ENDED && put.keep_expiry, "{put:?}");
    }

    #[test]
    fn an_attempt_that_holds_its_key_writes_when_memory_is_short() {
        let request = request();
        let held = Acquired { fence: 1, recovering: false, steps: Bytes::new() };
        for step in [
            Keep::renew(&request, held.clone()).begin(|| Change::COUNTED),
            Keep::renew(&request, held).met(seen(&request, Change::COUNTED), None, || Change::COUNTED),
            Keep::save(&request, 1, Bytes::new()).begin(|| Change::COUNTED),
        ] {
            assert!(matches!(step, Step::Swap(Expect::Owner { .. }, Put { urgent: true, .. })), "{step:?}");
        }
    }

    #[test]
    fn a_lost_claim_is_created_again_soon_or_not_at_all_and_urgently_if_it_has_steps() {
        let mut request = request();
        let mut other = ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([1; 32]));
        other.token = crate::protocol::Token::from_bytes([1; 16]);
        for (lease, within) in [(3, 1), (60, 10)] {
            request.lease = Duration::from_secs(lease);
            for steps in [Bytes::new(), Bytes::from_static(b"steps")] {
                let held = Acquired { fence: 1, recovering: false, steps: steps.clone() };
                let mut renewal = Keep::renew(&request, held);
                let freed = other.ended(Change::FREED, State::Freed, 1, Duration::from_secs(30));
                let freed = Seen::Record { head: freed, body: Some(Bytes::new()), left: None };
                assert!(matches!(renewal.met(freed, None, || Change::COUNTED), Step::Clock));
                let step = renewal.clock(SystemTime::UNIX_EPOCH, || Change::COUNTED);
                let Step::Swap(Expect::Exactly(_), put) = step else { panic!("{step:?}") };
                assert_eq!(put.urgent, !steps.is_empty(), "{put:?}");
                assert_eq!(put.not_after, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(within)));
            }
        }
    }

    #[test]
    fn a_record_that_changes_at_every_try_is_not_written_for_ever() {
        let request = request();
        let mut save = Keep::save(&request, 1, Bytes::new());
        let mut meet = || save.met(seen(&request, Change::FIRST), None, || Change::COUNTED);
        assert!((0..20).any(|_| matches!(meet(), Step::Answer(Err(StoreError::Timeout)))));
    }
}
