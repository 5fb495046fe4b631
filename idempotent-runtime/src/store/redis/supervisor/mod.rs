//! Keeps a connection to Redis. Every call has a deadline, a connection that cannot be used is replaced, and calls fail
//! at once while Redis is known to be down.

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
    clock::Clock,
    connect::{Boxed, Connect, Connection},
    failure::RedisFailure,
    timeouts::Timeouts,
};

/// A connection to a replica is replaced, because after a failover the address may lead to another server. This is the
/// shortest time between two such replacements.
const REPLACED_AT_MOST_EVERY: Duration = Duration::from_millis(500);

/// For [`Supervisor::now`], the server's clock is read again when the last reading is older than this.
const NOW_MAY_BE_OLD: Duration = Duration::from_secs(1);

/// Checks whether the server of a connection may keep claims.
pub(super) type Check = Box<dyn for<'a> Fn(&'a Connection) -> Boxed<'a, Result<(), RedisFailure>> + Send + Sync>;

/// Keeps a connection to Redis. Clones share it.
#[derive(Clone)]
pub(super) struct Supervisor {
    shared: Arc<Shared>,
}

impl Supervisor {
    /// Opens the first connection. It tries only once, so that a wrong address is noticed when the service starts.
    pub(super) async fn start(connect: Arc<dyn Connect>, timeouts: Timeouts) -> Result<Self, RedisFailure> {
        let shared = shared(connect, timeouts, Status::Connecting, None);
        let first = shared.connect().await?;
        shared.status.send_replace(Status::Up(first));
        Ok(Self { shared })
    }

    /// Opens the first connection in the background, and keeps trying. Calls fail until a connection has passed the
    /// check.
    pub(super) fn start_lazily(connect: Arc<dyn Connect>, timeouts: Timeouts, check: Check) -> Self {
        let shared = shared(connect, timeouts, Status::Stopped, Some(check));
        shared.reconnect();
        Self { shared }
    }

    /// Another connection to the same place. It is opened by the first call, and its tasks belong to the tokio runtime of
    /// that call.
    pub(super) fn beside(&self) -> Self {
        let connect = Arc::clone(&self.shared.connect);
        Self { shared: shared(connect, self.shared.timeouts, Status::Stopped, None) }
    }

    /// One call of the store. It has one deadline, however many round trips it takes.
    pub(super) async fn within<'a, T, E, W>(&'a self, work: impl FnOnce(Call<'a>) -> W) -> Result<T, E>
    where
        E: From<RedisFailure>,
        W: Future<Output = Result<T, E>>,
    {
        let call = self.call();
        timeout_at(call.deadline(), work(call)).await.unwrap_or_else(|_| Err(RedisFailure::TimedOut.into()))
    }

    /// Begins a call, for which the caller sees to a deadline.
    pub(super) fn call(&self) -> Call<'_> {
        Call::new(&self.shared, Instant::now())
    }

    /// How long a call may take.
    pub(super) fn response_timeout(&self) -> Duration {
        self.shared.timeouts.response
    }

    /// The server's clock. It is read again if the last reading is old. If the server does not answer then, the estimate
    /// is used. Without a reading, or if this machine was suspended since, there is no estimate.
    pub(super) async fn now(&self) -> Result<SystemTime, RedisFailure> {
        let (clock, now) = (&self.shared.clock, Instant::now());
        let age = clock.age(now).filter(|_| !clock.stepped(now));
        if age.is_none_or(|age| age > NOW_MAY_BE_OLD) {
            let asked = timeout_at(now + self.shared.timeouts.response, self.shared.ask_time()).await;
            if age.is_none() {
                asked.unwrap_or(Err(RedisFailure::TimedOut))?;
            }
        }
        Ok(SystemTime::UNIX_EPOCH + Duration::from_micros(clock.micros(Instant::now())))
    }

    /// The address of the server.
    pub(super) fn address(&self) -> String {
        self.shared.connect.address()
    }

    /// Whether several servers are behind the connection.
    pub(super) fn is_cluster(&self) -> bool {
        self.shared.connect.is_cluster()
    }

    /// Called when the server's answers show that several servers are behind the given connection.
    pub(super) fn found_cluster(&self) {
        self.shared.connect.found_cluster();
    }

    /// Reports the connections that are made from now on.
    pub(super) fn changes(&self) -> Changes {
        Changes(self.shared.status.subscribe())
    }
}

fn shared(connect: Arc<dyn Connect>, timeouts: Timeouts, status: Status, check: Option<Check>) -> Arc<Shared> {
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
    /// Resolves when there is a new connection.
    pub(super) async fn connected(&mut self) {
        let changed = async {
            self.0.changed().await?;
            self.0.wait_for(|status| matches!(status, Status::Up(_))).await.map(drop)
        };
        if changed.await.is_err() {
            // The supervisor is gone.
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
        redis.shared.clock.set(1_000_000);
        assert!(redis.now().await.is_ok(), "it was read a moment ago");
        redis.shared.clock.suspend();
        assert!(matches!(redis.now().await, Err(RedisFailure::Down(_))), "the machine was suspended since");
    }
}
