//! What all processes of a simulation share: the clock, the choices, the store's records, and the history.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Mutex, MutexGuard},
    task::ready,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep},
};

use crate::{
    history::History,
    random::Random,
    store::{Link, Records},
};

/// After this time nothing fails any more.
pub(crate) const HEALED: Duration = Duration::from_secs(60);

pub(crate) struct World {
    /// Whether the requests run operations instead of protected handlers.
    pub(crate) by_operations: bool,
    /// When the store loses its data.
    pub(crate) loss: Option<Duration>,
    /// When all processes stand still, and for how long: their machine is suspended.
    pub(crate) suspension: Option<(Duration, Duration)>,
    /// For each process, when its handlers block its threads, from and until.
    blocked: Vec<Vec<(Duration, Duration)>>,
    /// Tasks that wait for the loss of a handler's claim. Most wait for ever.
    pub(crate) listening: Mutex<Vec<AbortHandle>>,
    state: Mutex<State>,
    /// Which processes have died.
    dead: watch::Sender<Vec<bool>>,
    /// For each process, until when its link is in which state.
    links: Vec<Vec<(Duration, Link)>>,
}

struct State {
    random: Random,
    records: Records,
    history: History,
    /// When the present runtime was started, by its own clock and by the world's.
    started: Option<(Instant, Duration)>,
}

impl World {
    pub(crate) fn new(seed: u64, processes: usize) -> Self {
        let mut random = Random::new(seed);
        let links = (0..processes).map(|_| links(&mut random)).collect();
        // These moments have another source than all other choices, so that a seed means the same with and without them.
        let mut rare = Random::new(!seed);
        let loss = matches!(seed % 20, 11 | 14 | 18).then(|| rare.millis(5_000..50_000));
        let suspended = matches!(seed % 20, 7 | 10 | 16);
        let suspension = suspended.then(|| (rare.millis(5_000..45_000), rare.millis(500..10_000)));
        let blocks = matches!(seed % 20, 4 | 13 | 19);
        let blocked = (0..processes).map(|_| if blocks { blocked(&mut rare) } else { Vec::new() }).collect();
        let (records, history) = (Records::new(loss), History::default());
        let state = Mutex::new(State { random, records, history, started: None });
        // The seeds that `CONTRIBUTING.md` names are not among them.
        let by_operations = matches!(seed % 10, 4 | 7);
        Self {
            by_operations,
            loss,
            suspension,
            blocked,
            listening: Mutex::default(),
            state,
            dead: watch::Sender::new(vec![false; processes]),
            links,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Called when a runtime has been started. Its clock goes on where that of the one before has ended.
    pub(crate) fn runtime_started(&self, since: Duration) {
        self.state().started = Some((Instant::now(), since));
    }

    /// The time since the simulation began.
    pub(crate) fn now(&self) -> Duration {
        let (at, since) = self.state().started.unwrap();
        since + at.elapsed()
    }

    pub(crate) fn random<T>(&self, choose: impl FnOnce(&mut Random) -> T) -> T {
        choose(&mut self.state().random)
    }

    /// The records, after all commands that have arrived.
    pub(crate) fn records<T>(&self, work: impl FnOnce(&mut Records) -> T) -> T {
        let now = self.now();
        let records = &mut self.state().records;
        records.settle(now);
        work(records)
    }

    pub(crate) fn history<T>(&self, work: impl FnOnce(&mut History) -> T) -> T {
        work(&mut self.state().history)
    }

    pub(crate) fn link(&self, process: usize) -> Link {
        let now = self.now();
        self.links[process].iter().find(|(until, _)| now < *until).map_or(Link::Good, |(_, link)| *link)
    }

    /// Whether the link between a process and the store is in order during this time, and the process is not suspended.
    pub(crate) fn was_in_order(&self, process: usize, from: Duration, to: Duration) -> bool {
        if self.suspension.is_some_and(|(at, length)| at <= to && from <= at + length) {
            return false;
        }
        let mut since = Duration::ZERO;
        self.links[process].iter().all(|(until, link)| {
            let (begins, ends) = (std::mem::replace(&mut since, *until), *until);
            *link == Link::Good || ends <= from || begins >= to
        })
    }

    /// Whether the threads of a process are blocked at some moment of this time.
    pub(crate) fn was_blocked(&self, process: usize, from: Duration, to: Duration) -> bool {
        self.blocked[process].iter().any(|(since, until)| *since <= to && from <= *until)
    }

    /// Polls a future of a process, but not while the threads of the process are blocked. Heartbeats have another thread.
    pub(crate) async fn unless_blocked<F: Future>(&self, process: usize, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut blocked = None;
        poll_fn(|context| {
            let now = self.now();
            if let Some((_, until)) =
                self.blocked[process].iter().find(|(since, until)| (*since..*until).contains(&now))
            {
                let wakes = blocked.insert(Box::pin(sleep(until.saturating_sub(now))));
                ready!(wakes.as_mut().poll(context));
            }
            future.as_mut().poll(context)
        })
        .await
    }

    pub(crate) fn is_dead(&self, process: usize) -> bool {
        self.dead.borrow()[process]
    }

    pub(crate) fn dies(&self, process: usize) {
        let now = self.now();
        self.dead.send_if_modified(|dead| !std::mem::replace(&mut dead[process], true));
        self.history(|history| history.died(process, now));
    }

    pub(crate) async fn death(&self, process: usize) {
        let _ = self.dead.subscribe().wait_for(|dead| dead[process]).await;
    }

    /// The processes of the present runtime that live.
    pub(crate) fn living(&self, started: usize) -> Vec<usize> {
        let dead = self.dead.borrow();
        (0..started).filter(|process| !dead[*process]).collect()
    }
}

/// Some times in which the threads of one process are blocked, for up to four leases each.
fn blocked(random: &mut Random) -> Vec<(Duration, Duration)> {
    let begins = (0..2).map(|part| random.millis(part * 24_000 + 2_000..part * 24_000 + 12_000)).collect::<Vec<_>>();
    begins.into_iter().map(|since| (since, since + random.millis(500..12_000))).collect()
}

/// The states of one link, until everything is healed.
fn links(random: &mut Random) -> Vec<(Duration, Link)> {
    let mut links = Vec::new();
    let mut until = Duration::ZERO;
    let troubled = random.percent(80);
    while troubled && until < HEALED {
        let link = *random.pick(&[Link::Good, Link::Good, Link::Lossy, Link::Lossy, Link::Cut, Link::Down, Link::Full]);
        until += random.millis(100..8_000);
        links.push((until.min(HEALED), link));
    }
    links
}
