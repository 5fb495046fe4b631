//! One lock's share of the records: what a claim means, without any lock or clock.

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    config::policy::Takeover,
    store::{
        Acquired, Attempt, ClaimOutcome, CompleteOutcome, Fingerprint, ForgetOutcome, Lookup, ReleaseOutcome,
        RenewOutcome, StoreError, StoreKey, Token,
    },
};

/// What a record costs beside its key and its bytes: the two indexes and the allocator, rounded up.
const OVERHEAD: usize = 256;

/// So many expired records are dropped with every claim: more than one, so that dropping outruns adding.
const EXPIRE_PER_CLAIM: usize = 4;

#[derive(Default)]
pub(super) struct Shard {
    records: HashMap<StoreKey, Entry>,
    by_expiry: BTreeSet<(Instant, StoreKey)>,
}

struct Entry {
    token: Token,
    fence: u64,
    fingerprint: Fingerprint,
    state: State,
    expires: Instant,
}

enum State {
    /// `recovering` stays with the claim, so that one repeated after a lost answer is told the same.
    Running {
        lease_ends: Instant,
        recovering: bool,
    },
    Done(Bytes),
}

impl Shard {
    pub(super) fn claim(
        &mut self,
        attempt: &Attempt,
        proposed_fence: u64,
        now: Instant,
        budget: &Budget,
    ) -> Result<ClaimOutcome, StoreError> {
        self.expire(now, EXPIRE_PER_CLAIM, budget);
        let Some(known) = self.live(&attempt.key, now) else {
            self.forget(&attempt.key, budget);
            budget.admit(&attempt.key)?;
            self.run(attempt, proposed_fence, now, false);
            return Ok(ClaimOutcome::Acquired(Acquired::new(proposed_fence, false)));
        };
        if known.token != attempt.token && known.fingerprint != attempt.fingerprint {
            return Ok(ClaimOutcome::OtherRequest);
        }
        let fence = known.fence;
        match known.state {
            State::Done(ref record) => Ok(ClaimOutcome::Done(record.clone())),
            State::Running { recovering, .. } if known.token == attempt.token => {
                Ok(ClaimOutcome::Acquired(Acquired::new(fence, recovering)))
            }
            State::Running { lease_ends, .. } if lease_ends > now => {
                Ok(ClaimOutcome::Running { left: lease_ends.saturating_duration_since(now) })
            }
            State::Running { .. } if attempt.takeover == Takeover::Refuse => Ok(ClaimOutcome::Died),
            State::Running { .. } => {
                let fence = proposed_fence.max(fence.saturating_add(1));
                self.run(attempt, fence, now, true);
                Ok(ClaimOutcome::Acquired(Acquired::new(fence, true)))
            }
        }
    }

    pub(super) fn renew(
        &mut self,
        attempt: &Attempt,
        held: &Acquired,
        now: Instant,
        budget: &Budget,
    ) -> Result<RenewOutcome, StoreError> {
        match self.live(&attempt.key, now) {
            None => {
                self.forget(&attempt.key, budget);
                budget.admit(&attempt.key)?;
                self.run(attempt, held.fence, now, held.recovering);
                Ok(RenewOutcome::Recreated)
            }
            Some(known) if known.token != attempt.token => Ok(RenewOutcome::Lost),
            Some(Entry { state: State::Done(_), .. }) => Ok(RenewOutcome::Completed),
            Some(&Entry { state: State::Running { recovering, .. }, .. }) => {
                self.run(attempt, held.fence, now, recovering);
                Ok(RenewOutcome::Renewed)
            }
        }
    }

    pub(super) fn complete(
        &mut self,
        attempt: &Attempt,
        fence: u64,
        record: Bytes,
        now: Instant,
        budget: &Budget,
    ) -> CompleteOutcome {
        match self.live(&attempt.key, now) {
            Some(known) if known.token != attempt.token => return CompleteOutcome::Lost,
            Some(Entry { state: State::Done(_), .. }) => return CompleteOutcome::AlreadyStored,
            Some(Entry { state: State::Running { .. }, .. }) => {}
            None => {
                self.forget(&attempt.key, budget);
                budget.add(1, OVERHEAD + attempt.key.as_str().len());
            }
        }
        budget.add(0, record.len());
        self.put(attempt, fence, State::Done(record), now + attempt.ttl);
        CompleteOutcome::Stored
    }

    pub(super) fn replace(
        &mut self,
        attempt: &Attempt,
        fence: u64,
        record: Bytes,
        now: Instant,
        budget: &Budget,
    ) -> CompleteOutcome {
        match self.live(&attempt.key, now) {
            Some(Entry { state: State::Done(before), token, .. }) if *token == attempt.token => {
                budget.subtract(0, before.len());
            }
            _ => return CompleteOutcome::Lost,
        }
        budget.add(0, record.len());
        self.put(attempt, fence, State::Done(record), now + attempt.ttl);
        CompleteOutcome::Stored
    }

    pub(super) fn release(&mut self, attempt: &Attempt, now: Instant, budget: &Budget) -> ReleaseOutcome {
        match self.running(attempt) {
            None => ReleaseOutcome::NotOurs,
            // What the attempt before this one did is still unknown.
            Some(Entry { state: State::Running { recovering: true, .. }, .. }) => self.abandon(attempt, now),
            Some(_) => {
                self.forget(&attempt.key, budget);
                ReleaseOutcome::Ended
            }
        }
    }

    pub(super) fn abandon(&mut self, attempt: &Attempt, now: Instant) -> ReleaseOutcome {
        let Some(Entry { state: State::Running { lease_ends, .. }, .. }) = self.running(attempt) else {
            return ReleaseOutcome::NotOurs;
        };
        *lease_ends = now;
        ReleaseOutcome::Ended
    }

    pub(super) fn look(&self, key: &StoreKey, now: Instant) -> Lookup {
        match self.live(key, now) {
            None => Lookup::Absent,
            Some(Entry { fingerprint, state: State::Done(record), .. }) => {
                Lookup::Done { fingerprint: *fingerprint, record: record.clone() }
            }
            Some(Entry { fingerprint, state: State::Running { lease_ends, .. }, .. }) => {
                Lookup::Running { fingerprint: *fingerprint, left: lease_ends.saturating_duration_since(now) }
            }
        }
    }

    /// Drops the record unless an attempt holds its lease.
    pub(super) fn forget_settled(&mut self, key: &StoreKey, now: Instant, budget: &Budget) -> ForgetOutcome {
        match self.look(key, now) {
            Lookup::Absent => return ForgetOutcome::Absent,
            Lookup::Running { left, .. } if !left.is_zero() => return ForgetOutcome::Running { left },
            _ => self.forget(key, budget),
        }
        ForgetOutcome::Forgotten
    }

    /// Drops up to `most` expired records, the oldest first.
    pub(super) fn expire(&mut self, now: Instant, most: usize, budget: &Budget) {
        for _ in 0..most {
            match self.by_expiry.first() {
                Some((expires, key)) if *expires <= now => {
                    let key = key.clone();
                    self.forget(&key, budget);
                }
                _ => return,
            }
        }
    }

    /// The record under this key, if it has not expired.
    fn live(&self, key: &StoreKey, now: Instant) -> Option<&Entry> {
        self.records.get(key).filter(|entry| entry.expires > now)
    }

    /// The running record of this very attempt.
    fn running(&mut self, attempt: &Attempt) -> Option<&mut Entry> {
        let ours = |entry: &&mut Entry| entry.token == attempt.token && matches!(entry.state, State::Running { .. });
        self.records.get_mut(&attempt.key).filter(ours)
    }

    fn run(&mut self, attempt: &Attempt, fence: u64, now: Instant, recovering: bool) {
        let lease_ends = now + attempt.lease;
        self.put(attempt, fence, State::Running { lease_ends, recovering }, now + attempt.retention());
    }

    fn put(&mut self, attempt: &Attempt, fence: u64, state: State, expires: Instant) {
        let Attempt { key, token, fingerprint, .. } = attempt;
        let entry = Entry { token: *token, fence, fingerprint: *fingerprint, state, expires };
        if let Some(old) = self.records.insert(key.clone(), entry) {
            self.by_expiry.remove(&(old.expires, key.clone()));
        }
        self.by_expiry.insert((expires, key.clone()));
    }

    fn forget(&mut self, key: &StoreKey, budget: &Budget) {
        let Some(old) = self.records.remove(key) else { return };
        self.by_expiry.remove(&(old.expires, key.clone()));
        let body = if let State::Done(record) = &old.state { record.len() } else { 0 };
        budget.subtract(1, OVERHEAD + key.as_str().len() + body);
    }
}

/// What all shards together may hold.
#[derive(Debug)]
pub(super) struct Budget {
    records: AtomicUsize,
    bytes: AtomicUsize,
    max_records: usize,
    max_bytes: usize,
}

impl Budget {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self { records: AtomicUsize::new(0), bytes: AtomicUsize::new(0), max_records, max_bytes }
    }

    /// Takes the room for a new record, or says what is used up.
    fn admit(&self, key: &StoreKey) -> Result<(), StoreError> {
        let bytes = OVERHEAD + key.as_str().len();
        let (records_before, bytes_before) = self.add(1, bytes);
        let refusal = if records_before >= self.max_records {
            "raise MemoryStore::builder().max_records(…), shorten the ttl, or use Redis"
        } else if bytes_before.saturating_add(bytes) > self.max_bytes {
            "raise MemoryStore::builder().max_bytes(…), shorten the ttl, or use Redis"
        } else {
            return Ok(());
        };
        self.subtract(1, bytes);
        Err(StoreError::Full(refusal))
    }

    fn add(&self, records: usize, bytes: usize) -> (usize, usize) {
        (self.records.fetch_add(records, Relaxed), self.bytes.fetch_add(bytes, Relaxed))
    }

    fn subtract(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}
