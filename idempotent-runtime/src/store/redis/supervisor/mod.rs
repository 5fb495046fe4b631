//! Keeps a connection: a deadline on every call, another connection when this one is of no use, and no waiting while
//! Redis is known to be down.

mod call;
mod reconnect;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

pub(super) use self::call::Call;
use self::reconnect::{Shared, Status};
use super::{
    cause::Cause,
    clock::Clock,
    connect::{Boxed, Connect, Connection},
    timeouts::Timeouts,
};

/// A connection to a replica is given up, since a failover may have moved the address to another server; but not more
/// often than this.
const REPLACED_AT_MOST_EVERY: Duration = Duration::from_millis(500);

/// The server's clock is asked again for [`Supervisor::now`] when the last answer is older than this.
const NOW_MAY_BE_OLD: Duration = Duration::from_secs(1);

/// Whether the server at the other end may keep claims.
pub(super) type Check = Box<dyn for<'a> Fn(&'a Connection) -> Boxed<'a, Result<(), Cause>> + Send + Sync>;

/// See the module. Clones share the connection.
#[derive(Clone)]
pub(super) struct Supervisor {
    shared: Arc<Shared>,
}

impl Supervisor {
    /// Opens the first connection; there is no second try here, so that a wrong address shows at the start of the service.
    pub(super) async fn start(connect: Box<dyn Connect>, timeouts: Timeouts) -> Result<Self, Cause> {
        let shared = shared(connect, timeouts, Status::Connecting, None);
        let first = shared.connect().await?;
        shared.status.send_replace(Status::Up(first));
        Ok(Self { shared })
    }

    /// Opens the first connection behind the caller's back, and goes on trying. Until one passes the check calls fail.
    pub(super) fn start_lazily(connect: Box<dyn Connect>, timeouts: Timeouts, check: Check) -> Self {
        let shared = shared(connect, timeouts, Status::Stopped, Some(check));
        shared.reconnect();
        Self { shared }
    }

    /// One call of the store. It has one deadline, however many round trips it takes.
    pub(super) async fn within<'a, T, E, W>(&'a self, work: impl FnOnce(Call<'a>) -> W) -> Result<T, E>
    where
        E: From<Cause>,
        W: Future<Output = Result<T, E>>,
    {
        let call = self.call();
        timeout_at(call.deadline(), work(call)).await.unwrap_or_else(|_| Err(Cause::TimedOut.into()))
    }

    /// Begins a call, for which the caller sees to a deadline.
    pub(super) fn call(&self) -> Call<'_> {
        Call::new(&self.shared, Instant::now())
    }

    /// How long a call may take.
    pub(super) fn response_timeout(&self) -> Duration {
        self.shared.timeouts.response
    }

    /// The server's clock. It is asked if it was not asked lately, or if this machine's clocks say that it was suspended;
    /// while it does not answer, what is known of it has to do.
    pub(super) async fn now(&self) -> SystemTime {
        let clock = &self.shared.clock;
        let now = Instant::now();
        if clock.stepped(now) || clock.age(now).is_none_or(|age| age > NOW_MAY_BE_OLD) {
            let _ = timeout_at(now + self.shared.timeouts.response, self.shared.ask_time()).await;
        }
        SystemTime::UNIX_EPOCH + Duration::from_micros(clock.micros(Instant::now()))
    }

    /// Where the connection leads.
    pub(super) fn address(&self) -> String {
        self.shared.connect.address()
    }

    /// Several servers stand behind it.
    pub(super) fn is_cluster(&self) -> bool {
        self.shared.connect.is_cluster()
    }

    /// Several servers stand behind the given connection, as their answers show.
    pub(super) fn found_cluster(&self) {
        self.shared.connect.found_cluster();
    }

    /// Tells of connections that are made from now on.
    pub(super) fn changes(&self) -> Changes {
        Changes(self.shared.status.subscribe())
    }
}

fn shared(connect: Box<dyn Connect>, timeouts: Timeouts, status: Status, check: Option<Check>) -> Arc<Shared> {
    Arc::new(Shared {
        connect,
        timeouts,
        check,
        checked: AtomicBool::new(false),
        status: watch::Sender::new(status),
        clock: Clock::new(),
        asking_time: AtomicBool::new(false),
        generations: AtomicU64::new(0),
    })
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
            Status::Down(_) | Status::Stopped => "down",
        };
        f.debug_struct("Supervisor").field("address", &self.address()).field("state", &state).finish()
    }
}
