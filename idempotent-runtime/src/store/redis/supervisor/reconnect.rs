//! How the connection is replaced when it cannot be used any more.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::{Current, REPLACED_AT_MOST_EVERY, Status, Supervisor};
use crate::{backoff::Backoff, store::redis::failure::RedisFailure, telemetry};

/// The pauses between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

impl Supervisor {
    /// Opens a connection, and reads the server's clock over it, which shows that it works.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<Arc<Current>, RedisFailure> {
        let generation = self.generations.fetch_add(1, Relaxed);
        let supervisor = Arc::downgrade(self);
        let on_loss = move || {
            if let Some(supervisor) = supervisor.upgrade() {
                supervisor.lost(generation, &RedisFailure::Io("Redis closed the connection".to_owned()));
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
}

/// Tries to connect until it succeeds or nobody needs the connection any more.
async fn reconnect(supervisor: Weak<Supervisor>) {
    let mut stopped = StoppedOnDrop { supervisor: Weak::clone(&supervisor), armed: true };
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut reported = None;
    loop {
        let Some(strong) = supervisor.upgrade() else { return };
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
async fn replace(supervisor: Weak<Supervisor>, old: Replacing) {
    let Some(supervisor) = supervisor.upgrade() else { return };
    match supervisor.connect().await {
        Ok(current) => {
            telemetry::redis::connected(&supervisor.connect.address());
            supervisor.status.send_replace(Status::Up(current));
        }
        Err(cause) => supervisor.lost(old.0.generation, &cause),
    }
}

/// When this is dropped, with or without success, the next attempt to replace the connection may begin.
struct Replacing(Arc<Current>);

impl Drop for Replacing {
    fn drop(&mut self) {
        self.0.replacing.store(false, Relaxed);
    }
}

/// Reports a task that ended before it has connected, because its tokio runtime ended.
struct StoppedOnDrop {
    supervisor: Weak<Supervisor>,
    armed: bool,
}

impl Drop for StoppedOnDrop {
    fn drop(&mut self) {
        if let Some(supervisor) = self.supervisor.upgrade().filter(|_| self.armed) {
            supervisor.status.send_replace(Status::Stopped);
        }
    }
}
