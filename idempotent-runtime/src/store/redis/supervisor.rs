//! Keeps a connection: a deadline on every call, another connection when this one is of no use, and no waiting while
//! Redis is known to be down.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{Cmd, Value};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    cause::Cause,
    clock::Clock,
    link::{Dial, Link},
};
use crate::observe;

/// So many calls in a row without an answer, and the connection is taken for dead: a network that swallows packets
/// never says that it does.
const MISSES: u32 = 3;

/// A call that is dropped sooner says nothing about the server.
const TELLING: Duration = Duration::from_millis(20);

/// A connection to a replica is given up, since a failover may have moved the address to another server; but not more
/// often than this.
const REPLICA_PATIENCE: Duration = Duration::from_millis(500);

/// Between two attempts to connect; it doubles from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) response: Duration,
    pub(super) connect: Duration,
}

/// See the module. Clones share the connection.
#[derive(Clone)]
pub(super) struct Supervisor {
    shared: Arc<Shared>,
}

struct Shared {
    dial: Box<dyn Dial>,
    patience: Patience,
    status: watch::Sender<Status>,
    clock: Clock,
    asking_time: AtomicBool,
    dialled: AtomicU64,
}

#[derive(Clone)]
enum Status {
    Up(Arc<Live>),
    /// The first attempt after a loss is under way; it takes milliseconds, so calls wait for it.
    Connecting,
    /// An attempt failed. A task goes on trying, and calls fail at once.
    Down(Cause),
    /// As `Down`, but the task is gone, with its runtime; the next call starts another.
    Deserted,
}

struct Live {
    link: Box<dyn Link>,
    generation: u64,
    since: Instant,
    misses: AtomicU32,
    /// Another one is being made, to take its place.
    ageing: AtomicBool,
}

impl Supervisor {
    /// The first connection; there is no second try here, so that a wrong address shows at the start of the service.
    pub(super) async fn start(dial: Box<dyn Dial>, patience: Patience) -> Result<Self, Cause> {
        let shared = Arc::new(Shared {
            dial,
            patience,
            status: watch::Sender::new(Status::Connecting),
            clock: Clock::new(),
            asking_time: AtomicBool::new(false),
            dialled: AtomicU64::new(0),
        });
        let live = shared.connect().await?;
        shared.status.send_replace(Status::Up(live));
        Ok(Self { shared })
    }

    /// Gives a call its deadline, however many round trips it is.
    pub(super) async fn within<T, E: From<Cause>>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        timeout(self.shared.patience.response, call).await.unwrap_or_else(|_| Err(Cause::TimedOut.into()))
    }

    /// One round trip, once; for use [`within`](Self::within) a deadline. Whether it had its effect when it fails, or when
    /// it is dropped, is unknown.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Cause> {
        let shared = &self.shared;
        let live = shared.live().await?;
        let mut call = Call { shared, live: &live, since: Instant::now(), answered: false };
        let answer = live.link.ask(command).await.map_err(Cause::from);
        if answer != Err(Cause::TimedOut) {
            call.answered = true;
        }
        if let Err(cause) = &answer {
            let replica = cause.is_read_only() && live.since.elapsed() > REPLICA_PATIENCE;
            if replica || cause.is_loss() {
                shared.failed(&live, cause);
            }
        }
        answer
    }

    /// Where the connection leads.
    pub(super) fn address(&self) -> String {
        self.shared.dial.address()
    }

    /// Several servers stand behind it.
    pub(super) fn is_many(&self) -> bool {
        self.shared.dial.is_many()
    }

    /// Tells of connections that are made from now on.
    pub(super) fn changes(&self) -> Changes {
        Changes(self.shared.status.subscribe())
    }

    /// The server's clock, as far as it can be known without asking.
    pub(super) fn clock(&self) -> &Clock {
        if self.shared.clock.is_stale() {
            self.shared.ask_time();
        }
        &self.shared.clock
    }
}

/// See [`Supervisor::changes`].
pub(super) struct Changes(watch::Receiver<Status>);

impl Changes {
    /// Resolves when there is another connection than before.
    pub(super) async fn connected(&mut self) {
        let changed = async {
            self.0.changed().await?;
            self.0.wait_for(|status| matches!(status, Status::Up(_))).await.map(drop)
        };
        if changed.await.is_err() {
            // There is no supervisor any more.
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.shared.status.borrow() {
            Status::Up(_) => "up",
            Status::Connecting => "connecting",
            Status::Down(_) | Status::Deserted => "down",
        };
        f.debug_struct("Supervisor").field("address", &self.shared.dial.address()).field("state", &state).finish()
    }
}

impl Shared {
    /// The connection, or why there is none.
    async fn live(self: &Arc<Self>) -> Result<Arc<Live>, Cause> {
        match &*self.status.borrow() {
            Status::Up(live) => return Ok(Arc::clone(live)),
            Status::Down(cause) => return Err(cause.clone()),
            Status::Connecting | Status::Deserted => {}
        }
        self.revive();
        let mut changes = self.status.subscribe();
        let settled = changes.wait_for(|status| matches!(status, Status::Up(_) | Status::Down(_))).await;
        match settled.as_deref() {
            Ok(Status::Up(live)) => Ok(Arc::clone(live)),
            Ok(Status::Down(cause)) => Err(cause.clone()),
            _ => Err(Cause::TimedOut),
        }
    }

    /// A connection that answers, and the server's time by it.
    async fn connect(self: &Arc<Self>) -> Result<Arc<Live>, Cause> {
        let generation = self.dialled.fetch_add(1, Relaxed);
        let shared = Arc::downgrade(self);
        let on_loss = move || {
            if let Some(shared) = shared.upgrade() {
                shared.lost(generation, &Cause::Io("Redis closed the connection".to_owned()));
            }
        };
        let connected = async {
            let link = self.dial.dial(Arc::new(on_loss)).await?;
            let micros = self.time(&*link).await?;
            Ok::<_, Cause>((link, micros))
        };
        let limit = self.patience.connect.saturating_mul(self.dial.steps());
        let (link, micros) = timeout(limit, connected).await.map_err(|_| Cause::TimedOut)??;
        self.clock.set(micros);
        let (misses, ageing) = (AtomicU32::new(0), AtomicBool::new(false));
        Ok(Arc::new(Live { link, generation, since: Instant::now(), misses, ageing }))
    }

    /// The server's time. Of many servers the one that happens to be asked may be the one that is silent.
    async fn time(&self, link: &dyn Link) -> Result<u64, Cause> {
        let mut answer = time(link).await;
        for _ in 1..self.dial.steps() {
            if !self.dial.is_many() || answer.is_ok() {
                break;
            }
            answer = time(link).await;
        }
        answer
    }

    /// What the connection of a call that failed is worth.
    fn failed(self: &Arc<Self>, live: &Arc<Live>, cause: &Cause) {
        if self.dial.is_many() {
            self.renew(live, cause);
        } else {
            self.lost(live.generation, cause);
        }
    }

    /// Makes a connection that knows which servers there are now, while this one serves what it can. None is made more
    /// often than a failover takes.
    fn renew(self: &Arc<Self>, live: &Arc<Live>, cause: &Cause) {
        let Ok(runtime) = Handle::try_current() else { return };
        if live.since.elapsed() < REPLICA_PATIENCE || live.ageing.swap(true, Relaxed) {
            return;
        }
        observe::redis::lost(cause, &self.dial.address());
        runtime.spawn(renew(Arc::downgrade(self), Ageing(Arc::clone(live))));
    }

    /// The connection of this generation is of no use: makes another, unless that is under way.
    fn lost(self: &Arc<Self>, generation: u64, cause: &Cause) {
        let ours = self.status.send_if_modified(|status| {
            let ours = matches!(status, Status::Up(live) if live.generation == generation);
            if ours {
                *status = Status::Deserted;
            }
            ours
        });
        if ours {
            observe::redis::lost(cause, &self.dial.address());
            self.revive();
        }
    }

    /// Sees to it that a task is making a connection.
    fn revive(self: &Arc<Self>) {
        // Without a runtime, at its end, the next call will see to it.
        let Ok(runtime) = Handle::try_current() else { return };
        let ours = self.status.send_if_modified(|status| {
            let ours = matches!(status, Status::Deserted);
            if ours {
                *status = Status::Connecting;
            }
            ours
        });
        if ours {
            runtime.spawn(revive(Arc::downgrade(self)));
        }
    }

    /// Asks for the server's time anew, once, while calls go on with what is known.
    fn ask_time(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.asking_time.swap(true, Relaxed) {
            return;
        }
        let shared = Arc::clone(self);
        runtime.spawn(async move {
            if let Ok(live) = shared.live().await
                && let Ok(Ok(micros)) = timeout(shared.patience.response, shared.time(&*live.link)).await
            {
                shared.clock.set(micros);
            }
            shared.asking_time.store(false, Relaxed);
        });
    }
}

/// Connects until it succeeds or nobody is left who wants it.
async fn revive(shared: Weak<Shared>) {
    let mut deserted = DesertedOnDrop { shared: Weak::clone(&shared), armed: true };
    let mut pause = PAUSES.0;
    loop {
        let Some(strong) = shared.upgrade() else { return };
        match strong.connect().await {
            Ok(live) => {
                observe::redis::connected(&strong.dial.address());
                deserted.armed = false;
                strong.status.send_replace(Status::Up(live));
                return;
            }
            Err(cause) => strong.status.send_replace(Status::Down(cause.as_outage())),
        };
        drop(strong);
        // Up to a half more, so that many instances do not come back in step.
        let jitter = RandomState::new().hash_one(()) % 50;
        sleep(pause + pause * u32::try_from(jitter).unwrap_or(0) / 100).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Puts another connection in the place of one that may be out of date.
async fn renew(shared: Weak<Shared>, old: Ageing) {
    let Some(shared) = shared.upgrade() else { return };
    match shared.connect().await {
        Ok(live) => {
            observe::redis::connected(&shared.dial.address());
            shared.status.send_replace(Status::Up(live));
        }
        Err(cause) => shared.lost(old.0.generation, &cause),
    }
}

/// Whatever becomes of the attempt to replace a connection, the next one is free to be made.
struct Ageing(Arc<Live>);

impl Drop for Ageing {
    fn drop(&mut self) {
        self.0.ageing.store(false, Relaxed);
    }
}

/// The server's clock, in microseconds since 1970.
async fn time(link: &dyn Link) -> Result<u64, Cause> {
    let answer = link.ask(&redis::cmd("TIME")).await?;
    let (seconds, micros): (u64, u64) = redis::from_redis_value(answer).map_err(|_| Cause::Nonsense)?;
    seconds.checked_mul(1_000_000).and_then(|whole| whole.checked_add(micros)).ok_or(Cause::Nonsense)
}

/// A task that ends before it has connected, because its runtime does, leaves word.
struct DesertedOnDrop {
    shared: Weak<Shared>,
    armed: bool,
}

impl Drop for DesertedOnDrop {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade().filter(|_| self.armed) {
            shared.status.send_replace(Status::Deserted);
        }
    }
}

/// Counts calls in a row that get no answer: their future is dropped, by our deadline or by somebody with less patience.
struct Call<'a> {
    shared: &'a Arc<Shared>,
    live: &'a Arc<Live>,
    since: Instant,
    answered: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.answered {
            // Of many servers others may answer.
            if !self.shared.dial.is_many() {
                self.live.misses.store(0, Relaxed);
            }
        } else if self.since.elapsed() >= TELLING.min(self.shared.patience.response)
            && self.live.misses.fetch_add(1, Relaxed) + 1 >= MISSES
        {
            self.shared.failed(self.live, &Cause::TimedOut);
        }
    }
}
