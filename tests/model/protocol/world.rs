//! One key, the attempts at it, and the commands that are under way.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use idempotent_runtime::store::{Change, Expect, Head, Put, Seen, State, Swapped};

use super::{
    operation::{LEASE, Running, owner},
    rules::Without,
};

/// How many attempts there are, and how often each fault may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    /// Attempts: one, two, or three, of which the third is another request.
    pub(super) attempts: usize,
    /// Calls that are given up. The command arrives at any later moment, or never.
    pub(super) given_up: u8,
    /// Commands that arrive twice.
    pub(super) doubled: u8,
    /// Attempts whose process dies.
    pub(super) crashes: u8,
    /// The store loses its data.
    pub(super) losses: u8,
    /// How often the length of a lease passes.
    pub(super) ticks: u8,
    /// Renewals of each attempt.
    pub(super) renewals: u8,
    /// Steps of all handlers together.
    pub(super) steps: u8,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) record: Option<Record>,
    /// Leases since the start.
    pub(super) now: u8,
    pub(super) attempts: Vec<Attempt>,
    pub(super) under_way: Vec<Command>,
    pub(super) left: Bounds,
    pub(super) data_lost: bool,
    pub(super) broken: Option<&'static str>,
}

/// What the register holds.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) head: Head,
    pub(super) body: Bytes,
    pub(super) expires: Duration,
    /// Which command of its owner wrote it.
    sent: u8,
}

/// A swap that was sent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Command {
    pub(super) by: usize,
    /// Which operation of the attempt waits for the answer. `None`: it was given up.
    pub(super) waits: Option<Place>,
    pub(super) at: u8,
    /// The number of the command among those of its attempt.
    sent: u8,
    pub(super) expect: Expect,
    pub(super) put: Put,
}

/// An attempt does one thing at a time, beside its heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Main,
    Beat,
}

#[allow(clippy::struct_excessive_bools)] // facts that are independent of each other
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    pub(super) life: Life,
    pub(super) main: Option<UnderWay>,
    pub(super) beat: Option<UnderWay>,
    /// The last number of its own changes.
    pub(super) counted: u64,
    /// How many commands it has sent.
    sent: u8,
    pub(super) fence: u64,
    pub(super) recovering: bool,
    /// The steps that it has run or inherited, and those that it knows to be saved.
    pub(super) steps: u8,
    pub(super) saved: u8,
    /// It has the key before this moment, by the store's clock.
    pub(super) leased_until: u8,
    pub(super) renewals: u8,
    pub(super) lost: bool,
    /// Its handler ran.
    pub(super) ran: bool,
    /// It has asked the store to free the key.
    pub(super) asked_to_free: bool,
    /// The store has answered that.
    pub(super) freed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    Start,
    Claiming,
    Handler,
    Saving,
    Completing,
    Releasing,
    Abandoning,
    Over,
}

/// An operation, and when it began.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct UnderWay {
    pub(super) running: Running,
    pub(super) since: u8,
    /// It waits for the record to be read, and not for a command.
    pub(super) reads: bool,
}

impl World {
    pub(super) fn new(bounds: Bounds) -> Self {
        let attempt = Attempt {
            life: Life::Start,
            main: None,
            beat: None,
            counted: Change::COUNTED.number(),
            sent: 0,
            fence: 0,
            recovering: false,
            steps: 0,
            saved: 0,
            leased_until: 0,
            renewals: bounds.renewals,
            lost: false,
            ran: false,
            asked_to_free: false,
            freed: false,
        };
        Self {
            record: None,
            now: 0,
            attempts: vec![attempt; bounds.attempts],
            under_way: Vec::new(),
            left: bounds,
            data_lost: false,
            broken: None,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        LEASE * u32::from(self.now)
    }

    pub(super) fn clock(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000) + self.elapsed()
    }

    /// The record, as the register shows it.
    pub(super) fn seen(&self) -> Seen {
        match self.record.as_ref().filter(|record| record.expires > self.elapsed()) {
            None => Seen::Absent,
            Some(Record { head, body, expires, .. }) => Seen::Record {
                head: head.clone(),
                body: Some(body.clone()),
                left: Some(expires.saturating_sub(self.elapsed())),
            },
        }
    }

    pub(super) fn send(&mut self, by: usize, place: Place, expect: Expect, put: Put) {
        let attempt = &mut self.attempts[by];
        attempt.sent += 1;
        let (sent, at) = (attempt.sent, self.now);
        self.under_way.push(Command { by, waits: Some(place), at, sent, expect, put });
    }

    /// The register carries a command out, and this is noted if it breaks a promise.
    pub(super) fn carry_out(&mut self, command: &Command, without: Option<Without>) -> Swapped {
        let seen = self.seen();
        let number = u64::from(command.sent) + Change::COUNTED.number();
        let Some(mut put) = Without::put(without, &command.expect, &seen, &command.put, number) else {
            return Swapped::Done { fence: 0 };
        };
        if put.is_late(self.clock()) {
            return Swapped::Late;
        }
        if !Without::allows(without, &command.expect, &seen) {
            return Swapped::Found(seen);
        }
        // The clock of the store goes on between two of its losses.
        let clock = 100 * (u64::from(self.now) + u64::from(self.data_lost));
        put.head.raise_fence(clock);
        self.note(command, &put, &seen);
        let fence = put.head.fence;
        let (body, expires) = match seen {
            Seen::Record { body: Some(body), left: Some(left), .. } => (body, left),
            _ => (Bytes::new(), Duration::ZERO),
        };
        let kept = if put.keep_expiry { expires } else { put.head.kept };
        self.record = (!kept.is_zero()).then(|| Record {
            expires: self.elapsed() + kept,
            body: put.body.unwrap_or(body),
            head: put.head,
            sent: command.sent,
        });
        Swapped::Done { fence }
    }

    /// Notes a write that breaks a promise.
    fn note(&mut self, command: &Command, put: &Put, seen: &Seen) {
        let writer = owner(put.head.token);
        let by = &self.attempts[command.by];
        // A takeover that arrives late blocks the key for one lease.
        if matches!(put.head.state, State::Running { .. }) && by.freed && put.head.change != Change::TAKEOVER {
            self.broken = self.broken.or(Some("a freed key stays free"));
        }
        let (Seen::Record { head, left: Some(left), .. }, Some(record)) = (seen, &self.record) else { return };
        let runs = matches!(head.state, State::Running { .. }) && !head.lease_left(*left).is_zero();
        if runs && writer != owner(head.token) {
            self.broken = self.broken.or(Some("a key never has two owners, by the store's clock"));
        }
        if put.head.change == Change::TAKEOVER && put.head.fingerprint != head.fingerprint {
            self.broken = self.broken.or(Some("no request takes over the key of another"));
        }
        if head.state == State::Done && writer != owner(head.token) {
            self.broken = self.broken.or(Some("a finished record is never replaced by another attempt's"));
        }
        if writer == owner(head.token) && command.sent < record.sent {
            self.broken = self.broken.or(Some("nothing that arrives late undoes what its attempt did later"));
        }
    }
}
