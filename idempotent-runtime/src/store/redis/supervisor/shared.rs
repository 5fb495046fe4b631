//! What the clones of a supervisor share: the connection that there is, and how it becomes another one.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{Patience, REPLICA_PATIENCE};
use crate::{
    store::redis::{
        cause::Cause,
        clock::Clock,
        link::{Dial, Link},
    },
    telemetry,
};

/// Between two attempts to connect; it doubles from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

pub(super) struct Shared {
    pub(super) dial: Box<dyn Dial>,
    pub(super) patience: Patience,
    pub(super) status: watch::Sender<Status>,
    pub(super) clock: Clock,
    pub(super) asking_time: AtomicBool,
    pub(super) dialled: AtomicU64,
}

#[derive(Clone)]
pub(super) enum Status {
    Up(Arc<Live>),
    /// The first attempt after a loss is under way; it takes milliseconds, so calls wait for it.
    Connecting,
    /// An attempt failed. A task goes on trying, and calls fail at once.
    Down(Cause),
    /// As `Down`, but the task is gone, with its runtime; the next call starts another.
    Deserted,
}

pub(super) struct Live {
    pub(super) link: Box<dyn Link>,
    pub(super) generation: u64,
    pub(super) since: Instant,
    pub(super) misses: AtomicU32,
    /// Another one is being made, to take its place.
    pub(super) ageing: AtomicBool,
}

impl Shared {
    /// The connection, or why there is none.
    pub(super) async fn live(self: &Arc<Self>) -> Result<Arc<Live>, Cause> {
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
    pub(super) async fn connect(self: &Arc<Self>) -> Result<Arc<Live>, Cause> {
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
    pub(super) fn failed(self: &Arc<Self>, live: &Arc<Live>, cause: &Cause) {
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
        telemetry::redis::lost(cause, &self.dial.address());
        runtime.spawn(renew(Arc::downgrade(self), Ageing(Arc::clone(live))));
    }

    /// The connection of this generation is of no use: makes another, unless that is under way.
    pub(super) fn lost(self: &Arc<Self>, generation: u64, cause: &Cause) {
        let ours = self.status.send_if_modified(|status| {
            let ours = matches!(status, Status::Up(live) if live.generation == generation);
            if ours {
                *status = Status::Deserted;
            }
            ours
        });
        if ours {
            telemetry::redis::lost(cause, &self.dial.address());
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
    pub(super) fn ask_time(self: &Arc<Self>) {
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
                telemetry::redis::connected(&strong.dial.address());
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
            telemetry::redis::connected(&shared.dial.address());
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
