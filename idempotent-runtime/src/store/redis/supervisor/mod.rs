//! Keeps a connection: a deadline on every call, another connection when this one is of no use, and no waiting while
//! Redis is known to be down.

mod shared;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{Cmd, Value};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use self::shared::{Live, Shared, Status};
use super::{cause::Cause, clock::Clock, link::Dial};

/// So many calls in a row without an answer, and the connection is taken for dead: a network that swallows packets
/// never says that it does.
const MISSES: u32 = 3;

/// A call that is dropped sooner says nothing about the server.
const TELLING: Duration = Duration::from_millis(20);

/// A connection to a replica is given up, since a failover may have moved the address to another server; but not more
/// often than this.
const REPLICA_PATIENCE: Duration = Duration::from_millis(500);

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
