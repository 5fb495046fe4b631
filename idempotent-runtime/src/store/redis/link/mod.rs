//! The seam to the client crate: one live connection, and how another is made when it breaks.
//!
//! The protocol above knows only these two, so a further topology is a further [`Dial`].

#[cfg(feature = "redis-cluster")]
mod cluster;
#[cfg(feature = "redis-sentinel")]
mod sentinel;
mod tls;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind,
    RedisError, RedisResult, Value,
    aio::ConnectionLike,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

#[cfg(feature = "redis-cluster")]
pub(super) use self::cluster::Cluster;
#[cfg(feature = "redis-sentinel")]
pub(super) use self::sentinel::Sentinel;
pub(super) use self::tls::Tls;

/// An idle connection is probed so often: a firewall that forgot it is noticed before a request needs it.
const KEEPALIVE: Duration = Duration::from_secs(15);

pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Called once when a connection is found broken while nobody uses it.
pub(super) type OnLoss = Arc<dyn Fn() + Send + Sync>;

/// A live connection that any number of tasks share.
pub(super) trait Link: Send + Sync {
    fn ask<'a>(&'a self, command: &'a Cmd) -> Boxed<'a, RedisResult<Value>>;
}

/// Makes a [`Link`], each time anew.
pub(super) trait Dial: Send + Sync {
    fn dial(&self, on_loss: OnLoss) -> Boxed<'_, RedisResult<Box<dyn Link>>>;

    /// Host and port, or the path of a socket; for error messages, so without credentials.
    fn address(&self) -> String;

    /// So many times the patience with one connection is what dialling may take: more than one has to be made.
    fn steps(&self) -> u32 {
        1
    }

    /// Behind a link stand several servers: when one fails, the link still serves what the others keep.
    fn is_many(&self) -> bool {
        false
    }
}

impl<C: ConnectionLike + Clone + Send + Sync> Link for C {
    fn ask<'a>(&'a self, command: &'a Cmd) -> Boxed<'a, RedisResult<Value>> {
        let mut connection = self.clone();
        Box::pin(async move { command.query_async(&mut connection).await })
    }
}

/// One server, by its URL.
pub(super) struct Standalone {
    client: Client,
    address: String,
}

impl Standalone {
    pub(super) fn new(url: &str, tls: &Tls, unacknowledged: Duration) -> Result<Self, RedisError> {
        let info = prepare(url, unacknowledged)?;
        let address = info.addr().to_string();
        Ok(Self { client: tls.client(info)?, address })
    }
}

impl Dial for Standalone {
    fn dial(&self, on_loss: OnLoss) -> Boxed<'_, RedisResult<Box<dyn Link>>> {
        Box::pin(connect(&self.client, on_loss))
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

/// What a URL says, and how its connections are to be made.
fn prepare(url: &str, unacknowledged: Duration) -> RedisResult<ConnectionInfo> {
    let info: ConnectionInfo = url.into_connection_info()?;
    // RESP3, since only then the client reports at once that an idle connection was closed.
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(redis).set_tcp_settings(tcp(unacknowledged)))
}

#[cfg_attr(
    not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")),
    expect(unused_variables, reason = "the others cannot limit how long data stays unacknowledged")
)]
fn tcp(unacknowledged: Duration) -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let tcp = tcp.set_user_timeout(unacknowledged);
    tcp
}

/// One connection that tells when it is lost.
async fn connect(client: &Client, on_loss: OnLoss) -> RedisResult<Box<dyn Link>> {
    let pushed = move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            on_loss();
        }
        Ok::<_, redis::aio::SendError>(())
    };
    // The supervisor has the deadlines; two timers a call would be one too many.
    let config =
        AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None).set_push_sender(pushed);
    Ok(Box::new(client.get_multiplexed_async_connection_with_config(&config).await?))
}

/// A connection that the user made, and that heals itself: here it is only tried again.
pub(super) struct Given<C>(pub(super) C);

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Dial for Given<C> {
    fn dial(&self, _: OnLoss) -> Boxed<'_, RedisResult<Box<dyn Link>>> {
        let connection = self.0.clone();
        Box::pin(async move { Ok(Box::new(connection) as Box<dyn Link>) })
    }

    fn address(&self) -> String {
        "the given connection".to_owned()
    }
}
