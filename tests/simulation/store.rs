//! The store of a simulation: a register whose calls are lost, late, doubled, or refused.

use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use idempotent_runtime::{
    StoreError,
    store::{Expect, Head, Put, Seen, State, Store, StoreKey, Swapped, Token},
};

use crate::world::World;

/// The state of the link between a process and the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Every call is answered soon.
    Good,
    /// Calls are lost on their way, or late, or arrive twice; answers are lost.
    Lossy,
    /// Nothing arrives.
    Cut,
    /// It is known that nothing arrives.
    Down,
    /// The store reads, and has no room for what is not urgent.
    Full,
}

/// The records, and the commands that are still on their way.
#[derive(Default)]
pub(crate) struct Records {
    kept: HashMap<StoreKey, Kept>,
    /// By the time of arrival.
    sent: BTreeMap<(Duration, u64), Command>,
    answers: HashMap<u64, Swapped>,
    number: u64,
    /// Every command that has arrived, and its answer.
    pub(crate) log: Vec<String>,
    /// What a correct store and engine never do.
    pub(crate) faults: Vec<String>,
    /// The values of steps that were ever in a record, by key.
    pub(crate) saved: Vec<(String, Bytes, Duration)>,
    /// When the store loses all that it has.
    loss: Option<Duration>,
}

struct Kept {
    head: Head,
    body: Bytes,
    expires: Duration,
}

struct Command {
    key: StoreKey,
    expect: Expect,
    put: Put,
    full: bool,
}

impl Records {
    pub(crate) fn new(loss: Option<Duration>) -> Self {
        Self { loss, ..Self::default() }
    }

    /// Carries out all commands that have arrived by now.
    pub(crate) fn settle(&mut self, now: Duration) {
        while let Some(first) = self.sent.first_entry().filter(|first| first.key().0 <= now) {
            let ((at, number), Command { key, expect, put, full }) = first.remove_entry();
            self.lose_what_is_due(at);
            let answer = self.swap(&key, &expect, &put, full, at);
            self.log.push(logged(at, &key, &expect, &put, &answer));
            self.answers.entry(number).or_insert(answer);
        }
        self.lose_what_is_due(now);
    }

    fn lose_what_is_due(&mut self, now: Duration) {
        if let Some(loss) = self.loss.take_if(|loss| *loss <= now) {
            self.log.push(format!("{loss:?} {} records are lost", self.kept.len()));
            self.kept.clear();
        }
    }

    fn seen(&self, key: &StoreKey, now: Duration) -> Seen {
        match self.kept.get(key).filter(|kept| kept.expires > now) {
            None => Seen::Absent,
            Some(Kept { head, body, expires }) => {
                Seen::Record { head: head.clone(), body: Some(body.clone()), left: Some(expires.saturating_sub(now)) }
            }
        }
    }

    fn swap(&mut self, key: &StoreKey, expect: &Expect, put: &Put, full: bool, now: Duration) -> Swapped {
        let seen = self.seen(key, now);
        if put.is_late(SystemTime::UNIX_EPOCH + now) {
            return Swapped::Late;
        }
        if !expect.allows(&seen) {
            return Swapped::Found(seen);
        }
        if full && !put.urgent {
            return Swapped::Refused(seen, StoreError::Full("the simulation's store"));
        }
        let (body_before, expires_before) = match self.kept.get(key) {
            Some(kept) if kept.expires > now => {
                if kept.head.state == State::Done && kept.head.token != put.head.token {
                    self.faults
                        .push(format!("{now:?}: a response of {} was replaced by another attempt", key.as_str()));
                }
                (kept.body.clone(), kept.expires)
            }
            _ => (Bytes::new(), now),
        };
        let mut head = put.head.clone();
        head.raise_fence(u64::try_from(now.as_micros()).unwrap());
        let body = put.body.clone().unwrap_or(body_before);
        if matches!(head.state, State::Running { .. }) && !body.is_empty() {
            self.saved.push((key.as_str().to_owned(), body.clone(), now));
        }
        let (fence, expires) = (head.fence, if put.keep_expiry { expires_before } else { now + head.kept });
        self.kept.insert(key.clone(), Kept { head, body, expires });
        Swapped::Done { fence }
    }

    /// The keys that an attempt holds, with its token and the rest of its lease.
    pub(crate) fn running(&self, now: Duration) -> Vec<(String, Token, Duration)> {
        let live = self.kept.iter().filter(|(_, kept)| kept.expires > now);
        let running = live.filter(|(_, kept)| matches!(kept.head.state, State::Running { .. }));
        let left = running.map(|(key, kept)| {
            (key.as_str().to_owned(), kept.head.token, kept.head.lease_left(kept.expires.saturating_sub(now)))
        });
        left.filter(|(_, _, left)| !left.is_zero()).collect()
    }
}

/// A line of the log. The numbers of changes are not in it, because all simulations of a program count on.
fn logged(at: Duration, key: &StoreKey, expect: &Expect, put: &Put, answer: &Swapped) -> String {
    let expected = match expect {
        Expect::Absent => "if absent",
        Expect::Owner { .. } => "if ours",
        Expect::Exactly(_) => "if as read",
        Expect::Unreadable => "if unreadable",
    };
    let answered = match answer {
        Swapped::Done { .. } => "written",
        Swapped::Found(_) => "something else is there",
        Swapped::Late => "late",
        Swapped::Refused(..) => "refused",
    };
    format!("{at:?} {} {expected}: {:?} for {:?}: {answered}", key.as_str(), put.head.state, put.head.lease)
}

/// The store as one process sees it.
#[derive(Clone)]
pub(crate) struct VirtualStore {
    pub(crate) world: Arc<World>,
    pub(crate) process: usize,
}

/// What happens to a call.
enum Fate {
    /// It arrives after the first time, once or twice, and its answer after the second.
    Arrives {
        after: Duration,
        again: Option<Duration>,
        answered: Option<Duration>,
    },
    Fails(StoreError),
    Lost,
}

impl VirtualStore {
    fn fate(&self) -> Fate {
        let link = self.world.link(self.process);
        let unreachable = || StoreError::Unreachable("the simulation broke the connection".into());
        self.world.random(|random| match link {
            Link::Good | Link::Full => {
                let after = random.millis(0..20);
                Fate::Arrives { after, again: None, answered: Some(after + random.millis(0..20)) }
            }
            Link::Down => Fate::Fails(StoreError::Down("the simulation's store is down".into())),
            Link::Cut if random.percent(50) => Fate::Lost,
            Link::Cut => Fate::Fails(unreachable()),
            Link::Lossy => {
                let after = random.millis(0..1_500);
                match random.below(6) {
                    0 => Fate::Lost,
                    1 => Fate::Fails(unreachable()),
                    2 => Fate::Arrives { after, again: Some(after + random.millis(0..3_000)), answered: Some(after) },
                    3 | 4 => Fate::Arrives { after, again: None, answered: None },
                    _ => Fate::Arrives { after, again: None, answered: Some(after + random.millis(0..300)) },
                }
            }
        })
    }

    /// Sends what arrives after the times. Returns the number by which the answer is found.
    fn send(&self, key: &StoreKey, expect: &Expect, put: &Put, times: impl IntoIterator<Item = Duration>) -> u64 {
        let (now, full) = (self.world.now(), self.world.link(self.process) == Link::Full);
        self.world.records(|records| {
            records.number += 1;
            for time in times {
                let command = Command { key: key.clone(), expect: expect.clone(), put: put.clone(), full };
                records.sent.insert((now + time, records.number), command);
            }
            records.number
        })
    }
}

impl Store for VirtualStore {
    async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        if self.world.is_dead(self.process) {
            return pending().await;
        }
        match self.fate() {
            Fate::Arrives { answered: Some(answered), .. } => {
                tokio::time::sleep(answered).await;
                let now = self.world.now();
                Ok(self.world.records(|records| records.seen(key, now)))
            }
            Fate::Arrives { .. } | Fate::Lost => pending().await,
            Fate::Fails(error) => Err(error),
        }
    }

    async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        if self.world.is_dead(self.process) {
            return pending().await;
        }
        match self.fate() {
            Fate::Arrives { after, again, answered } => {
                let number = self.send(key, expect, put, [after].into_iter().chain(again));
                let Some(answered) = answered else { return pending().await };
                tokio::time::sleep(answered).await;
                let answer = self.world.records(|records| records.answers.remove(&number));
                answer.ok_or(StoreError::Timeout)
            }
            Fate::Lost => pending().await,
            Fate::Fails(error) => Err(error),
        }
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        Ok(SystemTime::UNIX_EPOCH + self.world.now())
    }
}
