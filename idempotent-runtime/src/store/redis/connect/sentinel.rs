//! Connects to the master that sentinels name. They are asked again for each connection.

use redis::{
    ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::task::JoinSet;

use super::{Boxed, Connect, Connection, OnLoss, Options, prepare, standalone::open, tcp};
use crate::store::redis::failure::RedisFailure;

/// A master, given by its name and the addresses of sentinels.
pub(in super::super) struct Sentinel {
    sentinels: Vec<ConnectionInfo>,
    name: String,
    /// Credentials, database and encryption of the master. Its host is the master's name.
    master: ConnectionInfo,
    /// The credentials are the master's. Those of the sentinels are in their URLs.
    options: Options,
}

impl Sentinel {
    pub(in super::super) fn new(sentinels: &[String], master: &str, options: Options) -> RedisResult<Self> {
        let timeouts = options.timeouts;
        let sentinels = sentinels.iter().map(|url| prepare(url, timeouts)).collect::<RedisResult<Vec<_>>>()?;
        if sentinels.is_empty() {
            return Err((ErrorKind::EmptySentinelList, "the address of a sentinel is missing").into());
        }
        let master = if master.contains("://") { master.to_owned() } else { format!("redis://{master}") };
        let master = prepare(&master, timeouts)?;
        let name = match master.addr() {
            ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. } => name.clone(),
            _ => return Err((ErrorKind::InvalidClientConfig, "the host of the master's URL is its name").into()),
        };
        let connect = Self { sentinels, name, master, options };
        // A fault in the certificates is found here, at start-up, and not during an outage.
        let master = connect.master.redis_settings();
        connect.sentinels.iter().try_for_each(|sentinel| connect.client(sentinel, master).map(drop))?;
        Ok(connect)
    }

    /// A client for one sentinel, so that a silent one delays nobody.
    fn client(&self, sentinel: &ConnectionInfo, to_master: &RedisConnectionInfo) -> RedisResult<SentinelClient> {
        let tcp = tcp(self.options.timeouts);
        let encrypted = |address: &ConnectionAddr| matches!(address, ConnectionAddr::TcpTls { .. });
        let mut client = SentinelClientBuilder::new([sentinel.addr().clone()], &self.name, SentinelServerType::Master)?
            .set_client_to_redis_db(to_master.db())
            .set_client_to_redis_protocol(ProtocolVersion::RESP3)
            .set_client_to_redis_tcp_settings(tcp.clone())
            .set_client_to_sentinel_tcp_settings(tcp);
        let to_sentinel = sentinel.redis_settings();
        if let Some(user) = to_master.username() {
            client = client.set_client_to_redis_username(user);
        }
        if let Some(password) = to_master.password() {
            client = client.set_client_to_redis_password(password);
        }
        if let Some(user) = to_sentinel.username() {
            client = client.set_client_to_sentinel_username(user);
        }
        if let Some(password) = to_sentinel.password() {
            client = client.set_client_to_sentinel_password(password);
        }
        if encrypted(self.master.addr()) {
            client = client.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
        }
        #[cfg(feature = "redis-tls")]
        if let Some(certificates) = self.options.certificates() {
            if encrypted(self.master.addr()) {
                client = client.set_client_to_redis_certificates(certificates.clone());
            }
            if encrypted(sentinel.addr()) {
                client = client.set_client_to_sentinel_certificates(certificates);
            }
        }
        client.build()
    }
}

impl Connect for Sentinel {
    /// Asks all sentinels at the same time. The crate asks the named server for its role. So a sentinel that has not
    /// heard of a failover yet names a server that fails this check, and the first valid answer is used.
    fn connect(&self, on_loss: OnLoss) -> Boxed<'_, Result<Connection, RedisFailure>> {
        Box::pin(async move {
            let mut to_master = self.master.redis_settings().clone();
            if let Some(credentials) = self.options.credentials.current().await? {
                to_master = credentials.apply(to_master);
            }
            // The tasks end when this is dropped.
            let mut asked = JoinSet::new();
            for sentinel in &self.sentinels {
                let mut client = self.client(sentinel, &to_master)?;
                asked.spawn(async move { client.async_get_client().await });
            }
            let mut failure = RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, "no sentinel answers"));
            while let Some(answer) = asked.join_next().await {
                match answer {
                    Ok(Ok(client)) => match open(&client, on_loss.clone()).await {
                        Ok(connection) => return Ok(connection),
                        Err(error) => failure = error,
                    },
                    Ok(Err(error)) => failure = error,
                    // The tokio runtime is shutting down.
                    Err(_) => {}
                }
            }
            Err(failure.into())
        })
    }

    fn address(&self) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
        format!("{} of the sentinels {}", self.name, sentinels.join(", "))
    }

    /// One step to the sentinel, one to the master to ask for its role, and one to the master.
    fn steps(&self) -> u32 {
        3
    }
}
