//! The operations of the library's `protocol/`, as one type that a state of the search can hold.

use std::{
    cell::Cell,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use idempotent_runtime::{
    store::{Acquired, Change, ClaimOutcome, ClaimRequest, Expect, Fingerprint, Put, Seen, StoreKey, Token},
    testing::{Claim, Complete, End, Keep, Kept, Operation, Step},
};

/// The longest lease that the search needs. A freed key is remembered for three of them.
pub(super) const LEASE: Duration = Duration::from_secs(10);

/// Two attempts at one request, and one at another request with the same key. The fourth probes a state.
static REQUESTS: LazyLock<[ClaimRequest; 4]> = LazyLock::new(|| {
    [(1, 1), (2, 1), (3, 2), (4, 1)].map(|(token, request)| {
        let mut made = ClaimRequest::new(StoreKey::new("key"), Fingerprint::from_bytes([request; 32]));
        (made.token, made.lease) = (Token::from_bytes([token; 16]), LEASE);
        made
    })
});

pub(super) const PROBE: usize = 3;

pub(super) fn request(attempt: usize) -> &'static ClaimRequest {
    let requests: &'static [ClaimRequest; 4] = &REQUESTS;
    &requests[attempt]
}

/// The attempt that a token belongs to.
pub(super) fn owner(token: Token) -> usize {
    usize::from(token.as_bytes()[0]) - 1
}

/// The steps of a handler, of which only the number matters.
pub(super) fn steps(count: u8) -> Bytes {
    vec![count; usize::from(count.min(1))].into()
}

pub(super) fn count_steps(steps: &Bytes) -> u8 {
    steps.first().copied().unwrap_or(0)
}

/// An operation that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Running {
    Claim(Claim<'static>),
    Keep(Keep<'static>),
    Complete(Complete<'static>),
    End(End<'static>),
}

/// What an operation is told.
pub(super) enum Input {
    Begin,
    Met(Seen),
    Written(u64),
    Clock(SystemTime),
}

/// What an operation does next.
pub(super) enum Next {
    Read,
    Clock,
    Swap(Expect, Put),
    Told(Told),
    Failed,
}

/// What the attempt is told by an operation.
pub(super) enum Told {
    Claim(ClaimOutcome),
    Keep(Kept),
    Complete,
    End,
}

impl Running {
    pub(super) fn claim(by: usize) -> Self {
        Self::Claim(Claim::new(request(by)))
    }

    pub(super) fn renew(by: usize, fence: u64, recovering: bool, saved: u8) -> Self {
        let mut held = Acquired::new(fence, recovering || saved > 0);
        held.steps = steps(saved);
        Self::Keep(Keep::renew(request(by), held))
    }

    pub(super) fn save(by: usize, fence: u64, count: u8) -> Self {
        Self::Keep(Keep::save(request(by), fence, steps(count)))
    }

    pub(super) fn complete(by: usize, fence: u64) -> Self {
        Self::Complete(Complete::new(request(by), fence, Bytes::from_static(b"response")))
    }

    pub(super) fn release(by: usize, fence: u64) -> Self {
        Self::End(End::release(request(by), fence))
    }

    pub(super) fn abandon(by: usize) -> Self {
        Self::End(End::abandon(request(by)))
    }

    /// `counted` is the last number of the attempt's own changes.
    pub(super) fn go(&mut self, input: Input, counted: &mut u64) -> Next {
        let number = Cell::new(*counted);
        let count = || {
            number.set(number.get() + 1);
            Change::new(number.get())
        };
        let next = match self {
            Self::Claim(operation) => step(operation, input, count, Told::Claim),
            Self::Keep(operation) => step(operation, input, count, Told::Keep),
            Self::Complete(operation) => step(operation, input, count, |_| Told::Complete),
            Self::End(operation) => step(operation, input, count, |_| Told::End),
        };
        *counted = number.get();
        next
    }
}

fn step<O: Operation>(
    operation: &mut O,
    input: Input,
    count: impl Fn() -> Change,
    told: impl FnOnce(O::Outcome) -> Told,
) -> Next {
    let step = match input {
        Input::Begin => operation.begin(count),
        Input::Met(seen) => operation.met(seen, None, count),
        Input::Written(fence) => operation.written(fence),
        Input::Clock(now) => operation.clock(now, count),
    };
    match step {
        Step::Read => Next::Read,
        Step::Clock => Next::Clock,
        Step::Swap(expect, put) => Next::Swap(expect, put),
        Step::Answer(Ok(outcome)) => Next::Told(told(outcome)),
        Step::Answer(Err(_)) => Next::Failed,
    }
}
