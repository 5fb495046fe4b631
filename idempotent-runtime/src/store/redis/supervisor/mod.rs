//! Keeps a connection to Redis. Every call has a deadline, a connection that cannot be used is replaced, and calls fail
//! at once while Redis is known to be down.

mod call;
mod reconnect;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

pub(super) use self::call::Call;
use super::{
    clock::Clock,
    connect::{Boxed, Connect, Connection, Timeouts},
    failure::RedisFailure,
};

/// A connection to a replica is replaced, because after a failover the address may lead to another server. This is the
/// shortest time between two such replacements.
const REPLACED_AT_MOST_EVERY: Duration = Duration::from_millis(500);

/// For [`Supervisor::now`], the server's clock is read again when the last reading is older than this.
const NOW_MAY_BE_OLD: Duration = Duration::from_secs(1);

/// Checks whether the server of a connection may keep claims.
pub(super) type Check = Box<dyn for<'a> Fn(&'a Connection) -> Boxed<'a, Result<(), RedisFailure>> + Send + Sync>;

/// Keeps a connection to Redis.
pub(super) struct Supervisor {
    pub(super) connect: Arc<dyn Connect>,
    pub(super) timeouts: Timeouts,
    /// The check for the first connection, if it was not made at start-up.
    check: Option<Check>,
    checked: AtomicBool,
    status: watch::Sender<Status>,
    clock: Clock,
    asking_time: AtomicBool,
    generations: AtomicU64,
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
pub(super) struct Current {
    pub(super) connection: Connection,
    generation: u64,
    since: Instant,
    misses: AtomicU32,
    /// A replacement for this connection is being opened.
    replacing: AtomicBool,
    /// The server has answered that it does not know `SET … IFEQ`.
    pub(super) no_comparison: AtomicBool,
}

impl Supervisor {
    /// Opens the first connection. It tries only once, so that a wrong address is noticed when the service starts.
    pub(super) async fn start(connect: Arc<dyn Connect>, timeouts: Timeouts) -> Result<Arc<Self>, RedisFailure> {
        let supervisor = Self::new(connect, timeouts, Status::Connecting, None);
        let first = supervisor.connect().await?;
        supervisor.status.send_replace(Status::Up(first));
        Ok(supervisor)
    }

    /// Opens the first connection in the background, and keeps trying. Calls fail until a connection has passed the
    /// check.
    pub(super) fn start_lazily(connect: Arc<dyn Connect>, timeouts: Timeouts, check: Check) -> Arc<Self> {
        let supervisor = Self::new(connect, timeouts, Status::Stopped, Some(check));
        supervisor.reconnect();
        supervisor
    }

    /// Another connection to the same place. It is opened by the first call, and its tasks belong to the tokio runtime of
    /// that call.
    pub(super) fn beside(&self) -> Arc<Self> {
        Self::new(Arc::clone(&self.connect), self.timeouts, Status::Stopped, None)
    }

    fn new(connect: Arc<dyn Connect>, timeouts: Timeouts, status: Status, check: Option<Check>) -> Arc<Self> {
        Arc::new(Self {
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

    /// One call of the store. It has one deadline, however many round trips it takes.
    pub(super) async fn within<'a, T, E, W>(self: &'a Arc<Self>, work: impl FnOnce(Call<'a>) -> W) -> Result<T, E>
    where
        E: From<RedisFailure>,
        W: Future<Output = Result<T, E>>,
    {
        let call = Call { supervisor: self, started: Instant::now() };
        let deadline = call.started + self.timeouts.response;
        timeout_at(deadline, work(call)).await.unwrap_or_else(|_| Err(RedisFailure::TimedOut.into()))
    }

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

    /// The server's clock. It is read again if the last reading is old. If the server does not answer then, the estimate
    /// is used. Without a reading, or if this machine was suspended since, there is no estimate.
    pub(super) async fn now(self: &Arc<Self>) -> Result<SystemTime, RedisFailure> {
        let (clock, now) = (&self.clock, Instant::now());
        let age = clock.age(now).filter(|_| !clock.stepped(now));
        if age.is_none_or(|age| age > NOW_MAY_BE_OLD) {
            let asked = timeout_at(now + self.timeouts.response, self.ask_time()).await;
            if age.is_none() {
                asked.unwrap_or(Err(RedisFailure::TimedOut))?;
            }
        }
        Ok(SystemTime::UNIX_EPOCH + Duration::from_micros(clock.micros(Instant::now())))
    }

    /// Reads the server's clock again.
    async fn ask_time(self: &Arc<Self>) -> Result<(), RedisFailure> {
        let current = self.current().await?;
        self.clock.set(self.time(&current.connection).await?);
        Ok(())
    }

    /// The same in the background, once, while calls use the estimate.
    fn ask_time_in_background(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.asking_time.swap(true, Relaxed) {
            return;
        }
        let supervisor = Arc::clone(self);
        runtime.spawn(async move {
            let _ = timeout(supervisor.timeouts.response, supervisor.ask_time()).await;
            supervisor.asking_time.store(false, Relaxed);
        });
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

    /// Tells of the connections that are made from now on.
    pub(super) fn changes(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }
}

/// The server's clock, in microseconds since 1970.
async fn time(connection: &Connection) -> Result<u64, RedisFailure> {
    let answer = connection.send(&redis::cmd("TIME")).await?;
    let (seconds, micros): (u64, u64) = redis::from_redis_value(answer).map_err(|_| RedisFailure::Unexpected)?;
    seconds.checked_mul(1_000_000).and_then(|whole| whole.checked_add(micros)).ok_or(RedisFailure::Unexpected)
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.status.borrow() {
            Status::Up(_) => "up",
            Status::Connecting => "connecting",
            Status::Down(_) | Status::Stopped => "down",
        };
        f.debug_struct("Supervisor")
            .field("address", &self.connect.address())
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::connect::OnLoss;

    /// A server that nobody reaches.
    struct Unreachable;

    impl Connect for Unreachable {
        fn connect(&self, _: OnLoss) -> Boxed<'_, Result<Connection, RedisFailure>> {
            Box::pin(async { Err(RedisFailure::Io("nobody is there".to_owned())) })
        }

        fn address(&self) -> String {
            "nowhere".to_owned()
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_not_known_is_an_error() {
        let timeouts = Timeouts { response: Duration::from_secs(10), connect: Duration::from_secs(10) };
        let redis = Supervisor::start_lazily(Arc::new(Unreachable), timeouts, Box::new(|_| Box::pin(async { Ok(()) })));
        assert!(matches!(redis.now().await, Err(RedisFailure::Down(_))), "it was never read");
        redis.clock.set(1_000_000);
        assert!(redis.now().await.is_ok(), "it was read a moment ago");
        redis.clock.suspend();
        assert!(matches!(redis.now().await, Err(RedisFailure::Down(_))), "the machine was suspended since");
    }
}
