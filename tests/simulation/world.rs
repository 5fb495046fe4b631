//! What all processes of a simulation share: the clock, the choices, the store's records, and the history.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::watch, task::AbortHandle, time::Instant};

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
        let (records, history) = (Records::default(), History::default());
        let state = Mutex::new(State { random, records, history, started: None });
        // The seeds that `CONTRIBUTING.md` names are not among them.
        let by_operations = matches!(seed % 10, 4 | 7);
        Self {
            by_operations,
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

    /// Whether the link between a process and the store is in order during this time.
    pub(crate) fn was_in_order(&self, process: usize, from: Duration, to: Duration) -> bool {
        let mut since = Duration::ZERO;
        self.links[process].iter().all(|(until, link)| {
            let (begins, ends) = (std::mem::replace(&mut since, *until), *until);
            *link == Link::Good || ends <= from || begins >= to
        })
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
