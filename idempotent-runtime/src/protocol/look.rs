//! Looks a key up, and forgets one.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Change, Expect, Fingerprint, ForgetOutcome, Head, Lookup, Put, Seen, State, StoreError, StoreKey, Token,
    operation::{Operation, Step, Tries},
};

/// Reads the record of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Look<'a>(pub(crate) &'a StoreKey);

impl Operation for Look<'_> {
    type Outcome = Lookup;

    fn key(&self) -> &StoreKey {
        self.0
    }

    fn begin(&mut self, _: impl Fn() -> Change) -> Step<Lookup> {
        Step::Read
    }

    fn met(&mut self, seen: Seen, _: Option<StoreError>, _: impl Fn() -> Change) -> Step<Lookup> {
        Step::answer(lookup(seen))
    }

    fn written(&mut self, _: u64) -> Step<Lookup> {
        Step::Read
    }
}

/// What a record shows.
fn lookup(seen: Seen) -> Lookup {
    let (head, body, left) = match seen {
        Seen::Absent => return Lookup::Absent,
        Seen::Unreadable => return Lookup::Unreadable,
        Seen::Record { head, body, left } => (head, body, left),
    };
    let fingerprint = head.fingerprint;
    match (head.state, body, left) {
        (State::Freed, ..) => Lookup::Absent,
        (State::Done, Some(record), _) => Lookup::Done { fingerprint, record },
        (State::Running { .. }, _, Some(left)) => Lookup::Running { fingerprint, left: head.lease_left(left) },
        (State::Done, None, _) | (State::Running { .. }, _, None) => Lookup::Unreadable,
    }
}

/// Drops the record of a key, also an unreadable one, unless an attempt holds its lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Forget<'a> {
    key: &'a StoreKey,
    tries: Tries,
}

impl<'a> Forget<'a> {
    pub(crate) fn new(key: &'a StoreKey) -> Self {
        Self { key, tries: Tries::default() }
    }
}

impl Operation for Forget<'_> {
    type Outcome = ForgetOutcome;

    fn key(&self) -> &StoreKey {
        self.key
    }

    fn begin(&mut self, _: impl Fn() -> Change) -> Step<ForgetOutcome> {
        Step::Read
    }

    fn met(&mut self, seen: Seen, refused: Option<StoreError>, _: impl Fn() -> Change) -> Step<ForgetOutcome> {
        let (expect, fence) = match &seen {
            Seen::Unreadable => (Expect::Unreadable, 0),
            Seen::Record { head, .. } => (Expect::Exactly(head.stamp()), head.fence),
            Seen::Absent => return Step::answer(ForgetOutcome::Absent),
        };
        match lookup(seen) {
            Lookup::Absent => Step::answer(ForgetOutcome::Absent),
            Lookup::Running { left, .. } if !left.is_zero() => Step::answer(ForgetOutcome::Running { left }),
            _ => self.tries.swap(refused, expect, dropped(fence)),
        }
    }

    fn written(&mut self, _: u64) -> Step<ForgetOutcome> {
        Step::answer(ForgetOutcome::Forgotten)
    }
}

/// A record that the store drops at once.
fn dropped(fence: u64) -> Put {
    let head = Head {
        token: Token::from_bytes([0; 16]),
        change: Change::FREED,
        state: State::Freed,
        fence,
        lease: Duration::ZERO,
        kept: Duration::ZERO,
        fingerprint: Fingerprint::from_bytes([0; 32]),
    };
    Put { urgent: true, ..Put::new(head, Bytes::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ClaimRequest;

    #[test]
    fn a_freed_key_has_nothing_to_forget_and_a_running_one_keeps_its_record() {
        let request = ClaimRequest::new(StoreKey::new("k"), Fingerprint::from_bytes([1; 32]));
        let meet = |head: Head, left| {
            let seen = Seen::Record { head, body: Some(Bytes::new()), left: Some(left) };
            Forget::new(&request.key).met(seen, None, || Change::COUNTED)
        };
        let freed = request.ended(Change::FREED, State::Freed, 1, Duration::from_secs(30));
        let step = meet(freed, Duration::from_secs(30));
        assert!(matches!(step, Step::Answer(Ok(ForgetOutcome::Absent))), "{step:?}");
        let running = request.running(Change::FIRST, false, 1);
        let step = meet(running.clone(), request.retention());
        assert!(matches!(step, Step::Answer(Ok(ForgetOutcome::Running { .. }))), "{step:?}");
        let step = meet(running, request.ttl);
        assert!(matches!(step, Step::Swap(Expect::Exactly(_), Put { urgent: true, .. })), "{step:?}");
    }
}
