//! The records of one shard, and what each call does to them. Without locks and clocks.

use std::{cmp::Reverse, collections::BinaryHeap, mem::size_of};

use bytes::Bytes;
use hashbrown::HashTable;

use super::{
    budget::Budget,
    clock::Moment,
    record::{Record, State, cost, running},
};
use crate::{
    config::policy::Takeover,
    store::{
        Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome,
        SaveOutcome, StoreError, StoreKey,
    },
};

/// How many expired records are dropped with every claim. More than one, so that records are dropped faster than they
/// are added.
const EXPIRE_PER_CLAIM: usize = 4;

#[derive(Default)]
pub(super) struct Shard {
    records: HashTable<Record>,
    /// When to check whether a record has expired: one entry for each record, and some for records that were removed.
    /// If a record does not expire at the entry's moment, it is checked then and gets a new entry.
    expiries: BinaryHeap<Reverse<Expiry>>,
    /// The bytes of the table and the heap.
    charged: usize,
    last_fence: u64,
}

/// When to check the record of this hash. The entry is out of date if the record is scheduled for another moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Expiry {
    at: Moment,
    hash: u64,
}

/// The arguments of every call: the hash of its key, the time, and the limits.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) hash: u64,
    pub(super) now: Moment,
    pub(super) budget: &'a Budget,
}

impl Shard {
    pub(super) fn claim(
        &mut self,
        attempt: &ClaimRequest,
        lowest_fence: u64,
        context: Context<'_>,
    ) -> Result<ClaimOutcome, StoreError> {
        self.expire(EXPIRE_PER_CLAIM, context);
        let next_fence = lowest_fence.max(self.last_fence.saturating_add(1));
        let Some(known) = self.live(&attempt.key, context) else {
            self.remove(&attempt.key, context);
            context.budget.admit(cost(&attempt.key))?;
            self.last_fence = next_fence;
            self.insert(attempt, next_fence, running(attempt, context.now, false, Bytes::new()), context);
            return Ok(ClaimOutcome::Acquired(Acquired::new(next_fence, false)));
        };
        if known.token != attempt.token && known.fingerprint != attempt.fingerprint {
            return Ok(ClaimOutcome::OtherRequest);
        }
        match &mut known.state {
            State::Done(record) => Ok(ClaimOutcome::Done(record.clone())),
            State::Running { recovering, steps, .. } if known.token == attempt.token => {
                Ok(ClaimOutcome::Acquired(Acquired {
                    fence: known.fence,
                    recovering: *recovering,
                    steps: steps.clone(),
                }))
            }
            State::Running { lease_ends, .. } if *lease_ends > context.now => {
                Ok(ClaimOutcome::Running { left: lease_ends.left(context.now) })
            }
            State::Running { .. } if attempt.takeover == Takeover::Refuse => Ok(ClaimOutcome::Died),
            State::Running { steps, .. } => {
                let steps = std::mem::take(steps);
                known.fence = next_fence.max(known.fence.saturating_add(1));
                known.token = attempt.token;
                known.expires = context.now.after(attempt.retention());
                known.state = running(attempt, context.now, true, steps.clone());
                let fence = known.fence;
                self.last_fence = fence;
                Ok(ClaimOutcome::Acquired(Acquired { fence, recovering: true, steps }))
            }
        }
    }

    pub(super) fn renew(
        &mut self,
        attempt: &ClaimRequest,
        held: &Acquired,
        context: Context<'_>,
    ) -> Result<RenewOutcome, StoreError> {
        match self.live(&attempt.key, context) {
            None => {
                self.remove(&attempt.key, context);
                context.budget.admit(cost(&attempt.key))?;
                let state = running(attempt, context.now, held.recovering, held.steps.clone());
                self.insert(attempt, held.fence, state, context);
                Ok(RenewOutcome::Recreated)
            }
            Some(known) if known.token != attempt.token => Ok(RenewOutcome::Lost),
            Some(Record { state: State::Done(_), .. }) => Ok(RenewOutcome::Completed),
            Some(Record { state: State::Running { lease_ends, .. }, expires, .. }) => {
                *lease_ends = context.now.after(attempt.lease);
                *expires = context.now.after(attempt.retention());
                Ok(RenewOutcome::Renewed)
            }
        }
    }

    pub(super) fn complete(
        &mut self,
        attempt: &ClaimRequest,
        fence: u64,
        record: Bytes,
        context: Context<'_>,
    ) -> CompleteOutcome {
        let done = State::Done(record);
        match self.live(&attempt.key, context) {
            Some(known) if known.token != attempt.token => CompleteOutcome::Lost,
            Some(Record { state: State::Done(_), .. }) => CompleteOutcome::AlreadyStored,
            Some(known) => {
                context.budget.add(done.bytes());
                context.budget.subtract(known.state.bytes());
                known.state = done;
                known.fingerprint = attempt.fingerprint;
                known.expires = context.now.after(attempt.ttl);
                CompleteOutcome::Stored
            }
            None => {
                self.remove(&attempt.key, context);
                context.budget.add_record(cost(&attempt.key));
                self.insert(attempt, fence, done, context);
                CompleteOutcome::Stored
            }
        }
    }

    pub(super) fn replace(&mut self, attempt: &ClaimRequest, record: Bytes, context: Context<'_>) -> CompleteOutcome {
        match self.live(&attempt.key, context) {
            Some(known) if known.token == attempt.token && matches!(known.state, State::Done(_)) => {
                let done = State::Done(record);
                context.budget.add(done.bytes());
                context.budget.subtract(known.state.bytes());
                known.state = done;
                known.expires = context.now.after(attempt.ttl);
                CompleteOutcome::Stored
            }
            _ => CompleteOutcome::Lost,
        }
    }

    pub(super) fn save_steps(
        &mut self,
        attempt: &ClaimRequest,
        fence: u64,
        steps: Bytes,
        context: Context<'_>,
    ) -> SaveOutcome {
        match self.live(&attempt.key, context) {
            Some(known) if known.token != attempt.token => SaveOutcome::Lost,
            Some(Record { state: State::Done(_), .. }) => SaveOutcome::Lost,
            Some(known) => {
                let before = known.state.bytes();
                if let State::Running { recovering, steps: saved, .. } = &mut known.state {
                    *recovering = true;
                    *saved = steps;
                }
                context.budget.add(known.state.bytes());
                context.budget.subtract(before);
                SaveOutcome::Saved
            }
            None => {
                self.remove(&attempt.key, context);
                context.budget.add_record(cost(&attempt.key));
                self.insert(attempt, fence, running(attempt, context.now, true, steps), context);
                SaveOutcome::Saved
            }
        }
    }

    pub(super) fn release(&mut self, attempt: &ClaimRequest, context: Context<'_>) -> ReleaseOutcome {
        match self.running(attempt, context) {
            None => ReleaseOutcome::NotOurs,
            // The effects of the attempt before this one are still unknown, or steps are saved that the next attempt
            // needs.
            Some(Record { state: State::Running { lease_ends, recovering: true, .. }, .. }) => {
                *lease_ends = context.now;
                ReleaseOutcome::Ended
            }
            Some(_) => {
                self.remove(&attempt.key, context);
                ReleaseOutcome::Ended
            }
        }
    }

    pub(super) fn abandon(&mut self, attempt: &ClaimRequest, context: Context<'_>) -> ReleaseOutcome {
        let Some(Record { state: State::Running { lease_ends, .. }, .. }) = self.running(attempt, context) else {
            return ReleaseOutcome::NotOurs;
        };
        *lease_ends = context.now;
        ReleaseOutcome::Ended
    }

    pub(super) fn lookup(&mut self, key: &StoreKey, context: Context<'_>) -> Lookup {
        match self.live(key, context) {
            None => Lookup::Absent,
            Some(Record { fingerprint, state: State::Done(record), .. }) => {
                Lookup::Done { fingerprint: *fingerprint, record: record.clone() }
            }
            Some(Record { fingerprint, state: State::Running { lease_ends, .. }, .. }) => {
                Lookup::Running { fingerprint: *fingerprint, left: lease_ends.left(context.now) }
            }
        }
    }

    /// Drops the record unless an attempt holds its lease.
    pub(super) fn forget(&mut self, key: &StoreKey, context: Context<'_>) -> ForgetOutcome {
        match self.lookup(key, context) {
            Lookup::Absent => return ForgetOutcome::Absent,
            Lookup::Running { left, .. } if !left.is_zero() => return ForgetOutcome::Running { left },
            _ => self.remove(key, context),
        }
        ForgetOutcome::Forgotten
    }

    /// Drops up to `most` expired records, the oldest first.
    pub(super) fn expire(&mut self, most: usize, context: Context<'_>) {
        for _ in 0..most {
            let Some(Reverse(Expiry { at, hash })) =
                self.expiries.peek().copied().filter(|next| next.0.at <= context.now)
            else {
                return;
            };
            self.expiries.pop();
            let Ok(mut entry) = self.records.find_entry(hash, |record| record.hash == hash) else { continue };
            let record = entry.get_mut();
            if record.scheduled != at {
                continue;
            }
            if record.expires > context.now {
                record.scheduled = record.expires;
                self.expiries.push(Reverse(Expiry { at: record.expires, hash }));
            } else {
                let (record, _) = entry.remove();
                context.budget.subtract_record(cost(&record.key) + record.state.bytes());
            }
        }
    }

    /// The moment when the next record may have expired.
    pub(super) fn next_expiry(&self) -> Moment {
        self.expiries.peek().map_or(Moment::NEVER, |next| next.0.at)
    }

    /// The record under this key, if it has not expired.
    fn live(&mut self, key: &StoreKey, Context { hash, now, .. }: Context<'_>) -> Option<&mut Record> {
        let found = self.records.find_mut(hash, |record| record.hash == hash && record.key == *key);
        found.filter(|record| record.expires > now)
    }

    /// The running record of this attempt. It may be expired, because an expired claim can still be ended.
    fn running(&mut self, attempt: &ClaimRequest, Context { hash, .. }: Context<'_>) -> Option<&mut Record> {
        let found = self.records.find_mut(hash, |record| record.hash == hash && record.key == attempt.key);
        found.filter(|record| record.token == attempt.token && matches!(record.state, State::Running { .. }))
    }

    /// Adds a record. Its room is reserved already, except for its state.
    fn insert(&mut self, attempt: &ClaimRequest, fence: u64, state: State, context: Context<'_>) {
        let Context { hash, now, budget } = context;
        budget.add(state.bytes());
        let kept = if matches!(state, State::Done(_)) { attempt.ttl } else { attempt.retention() };
        let expires = now.after(kept);
        let (key, token, fingerprint) = (attempt.key.clone(), attempt.token, attempt.fingerprint);
        let record = Record { hash, key, token, fingerprint, fence, expires, scheduled: expires, state };
        self.records.insert_unique(hash, record, |record| record.hash);
        self.expiries.push(Reverse(Expiry { at: expires, hash }));
        // Freed keys leave their entries in the heap. When these outnumber the records, they are dropped.
        if self.expiries.len() > 2 * self.records.len() + 64 {
            let records = &self.records;
            self.expiries.retain(|Reverse(Expiry { at, hash })| {
                records.find(*hash, |record| record.hash == *hash).is_some_and(|record| record.scheduled == *at)
            });
        }
        self.charge(budget);
    }

    /// Counts the bytes by which the table and the heap have grown.
    fn charge(&mut self, budget: &Budget) {
        let allocated = self.records.allocation_size() + self.expiries.capacity() * size_of::<Expiry>();
        if allocated != self.charged {
            budget.add(allocated.saturating_sub(self.charged));
            budget.subtract(self.charged.saturating_sub(allocated));
            self.charged = allocated;
        }
    }

    fn remove(&mut self, key: &StoreKey, Context { hash, budget, .. }: Context<'_>) {
        if let Ok(entry) = self.records.find_entry(hash, |record| record.hash == hash && record.key == *key) {
            let (record, _) = entry.remove();
            budget.subtract_record(cost(&record.key) + record.state.bytes());
        }
    }
}
