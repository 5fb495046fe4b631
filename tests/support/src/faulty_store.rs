//! Stores that break one promise each, to check that the conformance suite reports it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use idempotent_runtime::{
    Store, StoreError,
    store::{Expect, Head, Put, Seen, StoreKey, Swapped},
};
use tokio::time::Instant;

/// The promise that a [`Faulty`] store breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None: it keeps all of them, with nothing but the methods that a store must have.
    None,
    /// A swap reads first and writes in a second step.
    ReadThenWrite,
    /// A swap that expects no record writes over any record.
    AbsentIgnored,
    /// A swap that expects an attempt's own record writes over any record.
    OwnerIgnored,
    /// A swap that expects an attempt's own record does not compare its change.
    ChangeIgnored,
    /// A swap that expects one stamp compares the token only.
    StampIgnored,
    /// A command that arrives too late is carried out.
    LatenessIgnored,
    /// A swap that keeps the body drops it.
    BodyDropped,
    /// A swap that keeps the expiry starts it anew.
    ExpiryRestarted,
    /// What is left of a record is always its whole life.
    TimeStandsStill,
    /// A record is removed when half of its life has passed.
    ForgottenEarly,
    /// The fence of a claim is not raised to the clock.
    FenceNotRaised,
    /// The mark of a freed key is not kept.
    MarkDropped,
    /// Bodies are converted to UTF-8 text.
    BodyAsText,
    /// The clock always shows the same time.
    ClockStopped,
}

/// A store in memory with a fault.
pub struct Faulty {
    fault: Fault,
    records: Mutex<HashMap<StoreKey, (Head, Bytes, Instant)>>,
}

impl Faulty {
    /// An empty store with this fault.
    pub fn new(fault: Fault) -> Self {
        Self { fault, records: Mutex::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn records(&self) -> MutexGuard<'_, HashMap<StoreKey, (Head, Bytes, Instant)>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self, record: Option<&(Head, Bytes, Instant)>) -> Seen {
        let Some((head, body, expires)) = record else { return Seen::Absent };
        let mut left = expires.saturating_duration_since(Instant::now());
        if self.has(Fault::ForgottenEarly) && left < head.kept / 2 || left.is_zero() {
            return Seen::Absent;
        }
        if self.has(Fault::TimeStandsStill) {
            left = head.kept;
        }
        Seen::Record { head: head.clone(), body: Some(body.clone()), left: Some(left) }
    }

    fn allows(&self, expect: &Expect, seen: &Seen) -> bool {
        match (expect, seen) {
            (Expect::Absent, _) if self.has(Fault::AbsentIgnored) => true,
            (Expect::Owner { before, .. }, Seen::Record { head, .. }) if self.has(Fault::OwnerIgnored) => {
                head.change < *before
            }
            (Expect::Owner { token, .. }, Seen::Record { head, .. }) if self.has(Fault::ChangeIgnored) => {
                head.token == *token
            }
            (Expect::Exactly(stamp), Seen::Record { head, .. }) if self.has(Fault::StampIgnored) => {
                head.token == stamp.token
            }
            _ => expect.allows(seen),
        }
    }

    fn clock(&self) -> SystemTime {
        if self.has(Fault::ClockStopped) { UNIX_EPOCH + Duration::from_secs(1 << 30) } else { SystemTime::now() }
    }
}

impl Store for Faulty {
    async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        Ok(self.seen(self.records().get(key)))
    }

    async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        if self.has(Fault::ReadThenWrite) {
            let seen = self.read(key).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
            if !self.allows(expect, &seen) {
                return Ok(Swapped::Found(seen));
            }
        }
        let mut records = self.records();
        let seen = self.seen(records.get(key));
        if put.is_late(self.clock()) && !self.has(Fault::LatenessIgnored) {
            return Ok(Swapped::Late);
        }
        if !self.has(Fault::ReadThenWrite) && !self.allows(expect, &seen) {
            return Ok(Swapped::Found(seen));
        }
        let mut head = put.head.clone();
        if !self.has(Fault::FenceNotRaised) {
            let micros = self.clock().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
            head.raise_fence(u64::try_from(micros).unwrap_or(u64::MAX));
        }
        let fence = head.fence;
        let (before, left) = match seen {
            Seen::Record { body: Some(body), left: Some(left), .. } if !self.has(Fault::BodyDropped) => (body, left),
            Seen::Record { left: Some(left), .. } => (Bytes::new(), left),
            _ => (Bytes::new(), head.kept),
        };
        let body = match &put.body {
            Some(body) if self.has(Fault::BodyAsText) => String::from_utf8_lossy(body).into_owned().into(),
            body => body.clone().unwrap_or(before),
        };
        let kept = if put.keep_expiry && !self.has(Fault::ExpiryRestarted) { left } else { head.kept };
        if self.has(Fault::MarkDropped) && head.state == idempotent_runtime::store::State::Freed {
            records.remove(key);
        } else {
            records.insert(key.clone(), (head, body, Instant::now() + kept));
        }
        Ok(Swapped::Done { fence })
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        Ok(self.clock())
    }
}
