//! Open connections, and how a new one is opened when one breaks.
//!
//! The commands use only [`Connection`] and [`Connect`]. To support another topology, implement [`Connect`].

#[cfg(feature = "redis-cluster")]
mod cluster;
mod options;
#[cfg(feature = "redis-sentinel")]
mod sentinel;
mod standalone;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{
    Cmd, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

#[cfg(feature = "redis-cluster")]
pub(super) use self::cluster::Cluster;
#[cfg(feature = "redis-tls")]
pub(super) use self::options::Certificates;
#[cfg(feature = "redis-sentinel")]
pub(super) use self::sentinel::Sentinel;
pub(super) use self::{
    options::{Options, Timeouts},
    standalone::Standalone,
};
use super::failure::RedisFailure;
pub(super) use crate::store::BoxFuture as Boxed;

/// How often an idle connection is probed, so that a connection that a firewall has dropped is noticed before a request
/// needs it.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Called once when an idle connection is found broken.
pub(super) type OnLoss = Arc<dyn Fn() + Send + Sync>;

/// An open connection. Any number of tasks share it.
pub(super) enum Connection {
    /// One socket, to one server.
    Single(MultiplexedConnection),
    /// A cluster client, or a connection that the user has made.
    Other(Box<dyn SharedConnection>),
}

impl Connection {
    pub(super) fn other(connection: impl ConnectionLike + Clone + Send + Sync + 'static) -> Self {
        Self::Other(Box::new(connection))
    }

    /// Sends a command and waits for its answer. It has no deadline of its own.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisFailure> {
        let answer = match self {
            Self::Single(connection) => connection.clone().send_packed_command(command).await,
            Self::Other(connection) => connection.send(command).await,
        };
        // In the answers to our commands, errors occur only at the top level.
        match answer {
            Ok(Value::ServerError(error)) => Err(RedisFailure::from(redis::RedisError::from(error))),
            Ok(answer) => Ok(answer),
            Err(error) => Err(RedisFailure::from(error)),
        }
    }
}

/// [`ConnectionLike`] behind a pointer.
pub(super) trait SharedConnection: Send + Sync {
    fn send<'a>(&'a self, command: &'a Cmd) -> Boxed<'a, RedisResult<Value>>;
}

impl<C: ConnectionLike + Clone + Send + Sync> SharedConnection for C {
    fn send<'a>(&'a self, command: &'a Cmd) -> Boxed<'a, RedisResult<Value>> {
        let mut connection = self.clone();
        Box::pin(async move { connection.req_packed_command(command).await })
    }
}

/// Opens a new [`Connection`].
pub(super) trait Connect: Send + Sync {
    fn connect(&self, on_loss: OnLoss) -> Boxed<'_, Result<Connection, RedisFailure>>;

    /// Host and port, or the path of a socket. For messages, so without credentials.
    fn address(&self) -> String;

    /// How many connections must be opened one after the other before one can be used. Each may take the time limit of
    /// one.
    fn steps(&self) -> u32 {
        1
    }

    /// Whether several servers are behind a connection. If one fails, the connection still works for the keys of the
    /// others.
    fn is_cluster(&self) -> bool {
        false
    }

    /// Called when the given connection turns out to lead to a cluster.
    fn found_cluster(&self) {}
}

/// Reads a URL, and adds the settings of our connections.
fn prepare(url: &str, timeouts: Timeouts) -> RedisResult<ConnectionInfo> {
    let info: ConnectionInfo = url.into_connection_info()?;
    // RESP3, because only with it does the client report at once that an idle connection was closed.
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(redis).set_tcp_settings(tcp(timeouts)))
}

#[cfg_attr(
    not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")),
    expect(unused_variables, reason = "the others cannot limit how long data stays unacknowledged")
)]
fn tcp(timeouts: Timeouts) -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let tcp = tcp.set_user_timeout(timeouts.unacknowledged());
    tcp
}

/// A connection that the user has made. It reconnects by itself; here it is only used again.
pub(super) struct UserConnection<C> {
    connection: C,
    is_cluster: AtomicBool,
}

impl<C> UserConnection<C> {
    pub(super) fn new(connection: C) -> Self {
        Self { connection, is_cluster: AtomicBool::new(false) }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Connect for UserConnection<C> {
    fn connect(&self, _: OnLoss) -> Boxed<'_, Result<Connection, RedisFailure>> {
        Box::pin(async move { Ok(Connection::other(self.connection.clone())) })
    }

    fn address(&self) -> String {
        "the given connection".to_owned()
    }

    /// In a cluster, the node that is asked first may be silent.
    fn steps(&self) -> u32 {
        if self.is_cluster() { 4 } else { 1 }
    }

    fn is_cluster(&self) -> bool {
        self.is_cluster.load(Relaxed)
    }

    fn found_cluster(&self) {
        self.is_cluster.store(true, Relaxed);
    }
}
