//! The records of one shard, and what each call does to them. Without locks and clocks.

use std::{cmp::Reverse, collections::BinaryHeap, mem::size_of};

use hashbrown::HashTable;

use super::{
    budget::Budget,
    clock::{Clock, Moment},
    record::{Record, cost},
};
use crate::protocol::{Expect, Put, Seen, State, StoreError, StoreKey, Swapped};

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
    pub(super) clock: &'a Clock,
}

impl Context<'_> {
    /// The smallest fencing token for a claim that is made now.
    fn least_fence(&self) -> u64 {
        self.clock.fence(self.now)
    }
}

impl Shard {
    pub(super) fn read(&mut self, key: &StoreKey, context: Context<'_>) -> Seen {
        self.live(key, context).map_or(Seen::Absent, |record| record.seen(context.now))
    }

    #[inline]
    pub(super) fn swap(&mut self, key: &StoreKey, expect: &Expect, put: Put, context: Context<'_>) -> Swapped {
        if put.not_after.is_some_and(|last| context.clock.wall() > last) {
            return Swapped::Late;
        }
        let fence = put.head.fence;
        let is_free = put.head.state == State::Freed;
        match self.live(key, context) {
            Some(record) if !expect.allows_stamp(record.stamp()) => return Swapped::Found(record.seen(context.now)),
            None if *expect != Expect::Absent => return Swapped::Found(Seen::Absent),
            // No command arrives late in this process's memory, and fences grow without it. So a freed key needs no
            // mark.
            Some(_) if is_free => self.remove(key, context),
            None if is_free => {}
            Some(record) => record.write(put, context.now, context.budget),
            None => {
                // It may have expired.
                self.remove(key, context);
                return match self.insert(key, put, context) {
                    Ok(fence) => Swapped::Done { fence },
                    Err(error) => Swapped::Refused(Seen::Absent, error),
                };
            }
        }
        Swapped::Done { fence }
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
                context.budget.subtract_record(record.bytes());
            }
        }
    }

    /// The moment when the next record may have expired.
    pub(super) fn next_expiry(&self) -> Moment {
        self.expiries.peek().map_or(Moment::NEVER, |next| next.0.at)
    }

    /// The record under this key, if it has not expired.
    fn live(&mut self, key: &StoreKey, context: Context<'_>) -> Option<&mut Record> {
        self.any(key, context).filter(|record| record.expires > context.now)
    }

    /// The record under this key, even if it has expired.
    #[inline]
    pub(super) fn any(&mut self, key: &StoreKey, Context { hash, .. }: Context<'_>) -> Option<&mut Record> {
        self.records.find_mut(hash, |record| record.hash == hash && record.key == *key)
    }

    /// Adds a record of a key that has none, and returns its fence.
    #[inline]
    pub(super) fn insert(&mut self, key: &StoreKey, mut put: Put, context: Context<'_>) -> Result<u64, StoreError> {
        let Context { hash, now, budget, .. } = context;
        self.expire(EXPIRE_PER_CLAIM, context);
        if put.urgent {
            budget.add_record(cost(key));
        } else {
            budget.admit(cost(key))?;
        }
        put.head.raise_fence(context.least_fence().max(self.last_fence.saturating_add(1)));
        let fence = put.head.fence;
        self.last_fence = self.last_fence.max(fence);
        let record = Record::new(hash, key.clone(), put, now);
        budget.add(record.body_bytes());
        self.expiries.push(Reverse(Expiry { at: record.expires, hash }));
        self.records.insert_unique(hash, record, |record| record.hash);
        // Freed keys leave their entries in the heap. When these outnumber the records, they are dropped.
        if self.expiries.len() > 2 * self.records.len() + 64 {
            let records = &self.records;
            self.expiries.retain(|Reverse(Expiry { at, hash })| {
                records.find(*hash, |record| record.hash == *hash).is_some_and(|record| record.scheduled == *at)
            });
        }
        self.charge(budget);
        Ok(fence)
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
            budget.subtract_record(record.bytes());
        }
    }
}
