//! The state that the clones of a supervisor share: the current connection, and how it is replaced.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout},
};

use super::{Check, REPLACED_AT_MOST_EVERY};
use crate::{
    backoff::Backoff,
    store::redis::{
        clock::Clock,
        connect::{Connect, Connection},
        failure::RedisFailure,
        timeouts::Timeouts,
    },
    telemetry,
};

/// The pauses between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Shared {
    pub(super) connect: Arc<dyn Connect>,
    pub(super) timeouts: Timeouts,
    /// The check for the first connection, if it was not made at start-up.
    pub(super) check: Option<Check>,
    pub(super) checked: AtomicBool,
    pub(super) status: watch::Sender<Status>,
    pub(super) clock: Clock,
    pub(super) asking_time: AtomicBool,
    pub(super) generations: AtomicU64,
}

#[derive(Clone)]
pub(super) enum Status {
    Up(Arc<Current>),
    /// The first attempt after a loss is under way. It takes milliseconds, so calls wait for it.
    Connecting,
    /// An attempt failed. A task keeps trying, and calls fail at once.
    Down(RedisFailure),
    /// As `Down`, but no task is trying, because its tokio runtime has ended. The next call starts another task.
    Stopped,
}

/// The connection that calls use.
pub(in super::super) struct Current {
    pub(super) connection: Connection,
    pub(super) generation: u64,
    pub(super) since: Instant,
    pub(super) misses: AtomicU32,
    /// A replacement for this connection is being opened.
    pub(super) replacing: AtomicBool,
    /// The server has answered that it does not know `SET … IFEQ`.
    no_comparison: AtomicBool,
}

impl Current {
    pub(in super::super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether to try `SET … IFEQ`. True until the server answers that it does not know it.
    pub(in super::super) fn may_compare(&self) -> bool {
        !self.no_comparison.load(Relaxed)
    }

    /// Called when the server does not know `SET … IFEQ`.
    pub(in super::super) fn cannot_compare(&self) {
        self.no_comparison.store(true, Relaxed);
    }
}

impl Shared {
    /// The connection, or why there is none.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<Current>, RedisFailure> {
        match &*self.status.borrow() {
            Status::Up(current) => return Ok(Arc::clone(current)),
            Status::Down(cause) => return Err(cause.clone()),
            Status::Connecting | Status::Stopped => {}
        }
        Box::pin(self.wait()).await
    }

    async fn wait(self: &Arc<Self>) -> Result<Arc<Current>, RedisFailure> {
        self.reconnect();
        let mut changes = self.status.subscribe();
        let settled = changes.wait_for(|status| matches!(status, Status::Up(_) | Status::Down(_))).await;
        match settled.as_deref() {
            Ok(Status::Up(current)) => Ok(Arc::clone(current)),
            Ok(Status::Down(cause)) => Err(cause.clone()),
            _ => Err(RedisFailure::TimedOut),
        }
    }

    /// Opens a connection, and reads the server's clock over it, which shows that it works.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<Arc<Current>, RedisFailure> {
        let generation = self.generations.fetch_add(1, Relaxed);
        let shared = Arc::downgrade(self);
        let on_loss = move || {
            if let Some(shared) = shared.upgrade() {
                shared.lost(generation, &RedisFailure::Io("Redis closed the connection".to_owned()));
            }
        };
        let connected = async {
            let connection = self.connect.connect(Arc::new(on_loss)).await?;
            self.clock.set(self.time(&connection).await?);
            if let Some(check) = self.check.as_ref().filter(|_| !self.checked.load(Relaxed)) {
                check(&connection).await?;
                self.checked.store(true, Relaxed);
            }
            Ok::<_, RedisFailure>(connection)
        };
        let limit = self.timeouts.connect.saturating_mul(self.connect.steps());
        let connection = timeout(limit, connected).await.map_err(|_| RedisFailure::TimedOut)??;
        Ok(Arc::new(Current {
            connection,
            generation,
            since: Instant::now(),
            misses: AtomicU32::new(0),
            replacing: AtomicBool::new(false),
            no_comparison: AtomicBool::new(false),
        }))
    }

    /// The server's clock. If there are several servers, the one that is asked may be silent.
    async fn time(&self, connection: &Connection) -> Result<u64, RedisFailure> {
        let mut answer = time(connection).await;
        for _ in 1..self.connect.steps() {
            if !self.connect.is_cluster() || answer.is_ok() {
                break;
            }
            answer = time(connection).await;
        }
        answer
    }

    /// Decides what to do with the connection of a call that failed.
    pub(super) fn failed(self: &Arc<Self>, current: &Arc<Current>, cause: &RedisFailure) {
        if self.connect.is_cluster() {
            self.replace(current, cause);
        } else {
            self.lost(current.generation, cause);
        }
    }

    /// Opens a new connection that knows the current servers, while the old one is still used. This is not done more
    /// often than a failover takes.
    fn replace(self: &Arc<Self>, current: &Arc<Current>, cause: &RedisFailure) {
        let Ok(runtime) = Handle::try_current() else { return };
        if current.since.elapsed() < REPLACED_AT_MOST_EVERY || current.replacing.swap(true, Relaxed) {
            return;
        }
        telemetry::redis::lost(cause, &self.connect.address());
        runtime.spawn(replace(Arc::downgrade(self), Replacing(Arc::clone(current))));
    }

    /// The connection of this generation cannot be used any more. Opens a new one, unless one is being opened.
    pub(super) fn lost(self: &Arc<Self>, generation: u64, cause: &RedisFailure) {
        let ours = self.status.send_if_modified(|status| {
            let ours = matches!(status, Status::Up(current) if current.generation == generation);
            if ours {
                *status = Status::Stopped;
            }
            ours
        });
        if ours {
            telemetry::redis::lost(cause, &self.connect.address());
            self.reconnect();
        }
    }

    /// Makes sure that a task is opening a connection.
    pub(super) fn reconnect(self: &Arc<Self>) {
        // Without a tokio runtime, which is ending, the next call starts the task.
        let Ok(runtime) = Handle::try_current() else { return };
        let ours = self.status.send_if_modified(|status| {
            let ours = matches!(status, Status::Stopped);
            if ours {
                *status = Status::Connecting;
            }
            ours
        });
        if ours {
            runtime.spawn(reconnect(Arc::downgrade(self)));
        }
    }

    /// Reads the server's clock again.
    pub(super) async fn ask_time(self: &Arc<Self>) -> Result<(), RedisFailure> {
        let current = self.current().await?;
        self.clock.set(self.time(&current.connection).await?);
        Ok(())
    }

    /// The same in the background, once, while calls use the estimate.
    pub(super) fn ask_time_in_background(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.asking_time.swap(true, Relaxed) {
            return;
        }
        let shared = Arc::clone(self);
        runtime.spawn(async move {
            let _ = timeout(shared.timeouts.response, shared.ask_time()).await;
            shared.asking_time.store(false, Relaxed);
        });
    }
}

/// Tries to connect until it succeeds or nobody needs the connection any more.
async fn reconnect(shared: Weak<Shared>) {
    let mut stopped = StoppedOnDrop { shared: Weak::clone(&shared), armed: true };
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut reported = None;
    loop {
        let Some(strong) = shared.upgrade() else { return };
        match strong.connect().await {
            Ok(current) => {
                telemetry::redis::connected(&strong.connect.address());
                stopped.armed = false;
                strong.status.send_replace(Status::Up(current));
                return;
            }
            Err(cause) => {
                // Logged once for each reason, and not for each attempt.
                if reported.as_ref() != Some(&cause) {
                    telemetry::redis::down(&cause, &strong.connect.address());
                    reported = Some(cause.clone());
                }
                strong.status.send_replace(Status::Down(RedisFailure::Down(Box::new(cause))));
            }
        }
        drop(strong);
        backoff.pause().await;
    }
}

/// Replaces a connection that may be out of date.
async fn replace(shared: Weak<Shared>, old: Replacing) {
    let Some(shared) = shared.upgrade() else { return };
    match shared.connect().await {
        Ok(current) => {
            telemetry::redis::connected(&shared.connect.address());
            shared.status.send_replace(Status::Up(current));
        }
        Err(cause) => shared.lost(old.0.generation, &cause),
    }
}

/// When this is dropped, with or without success, the next attempt to replace the connection may begin.
struct Replacing(Arc<Current>);

impl Drop for Replacing {
    fn drop(&mut self) {
        self.0.replacing.store(false, Relaxed);
    }
}

/// The server's clock, in microseconds since 1970.
async fn time(connection: &Connection) -> Result<u64, RedisFailure> {
    let answer = connection.send(&redis::cmd("TIME")).await?;
    let (seconds, micros): (u64, u64) = redis::from_redis_value(answer).map_err(|_| RedisFailure::Unexpected)?;
    seconds.checked_mul(1_000_000).and_then(|whole| whole.checked_add(micros)).ok_or(RedisFailure::Unexpected)
}

/// Reports a task that ended before it has connected, because its tokio runtime ended.
struct StoppedOnDrop {
    shared: Weak<Shared>,
    armed: bool,
}

impl Drop for StoppedOnDrop {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade().filter(|_| self.armed) {
            shared.status.send_replace(Status::Stopped);
        }
    }
}
