//! Connects to a Redis Cluster. The client crate finds the node of a key, and follows when slots move.

use redis::{ConnectionInfo, ErrorKind, ProtocolVersion, RedisResult, cluster::ClusterClient};

use super::{Boxed, Connect, Connection, OnLoss, Options, prepare, tcp};
use crate::store::redis::{credentials::RedisCredentials, failure::RedisFailure};

/// How often the crate repeats a command, within our deadline. Enough to follow a moved slot, or to find a new node.
const RETRIES: u32 = 3;
/// The pauses between these repeats, in milliseconds. The crate's defaults go up to 1.28 s.
const PAUSES: (u64, u64) = (20, 100);

/// A cluster, given by the addresses of some of its nodes.
pub(in super::super) struct Cluster {
    nodes: Vec<ConnectionInfo>,
    options: Options,
    /// Made with the credentials in the URL.
    client: ClusterClient,
}

impl Cluster {
    pub(in super::super) fn new(urls: &[String], options: Options) -> RedisResult<Self> {
        let nodes = urls.iter().map(|url| prepare(url, options.timeouts)).collect::<RedisResult<Vec<_>>>()?;
        if nodes.is_empty() {
            return Err((ErrorKind::InvalidClientConfig, "a cluster needs the address of a node").into());
        }
        let client = client(&nodes, &options, None)?;
        Ok(Self { nodes, options, client })
    }
}

fn client(
    nodes: &[ConnectionInfo],
    options: &Options,
    credentials: Option<&RedisCredentials>,
) -> RedisResult<ClusterClient> {
    let timeouts = options.timeouts;
    let mut client = ClusterClient::builder(nodes.iter().cloned())
        .retries(RETRIES)
        .min_retry_wait(PAUSES.0)
        .max_retry_wait(PAUSES.1)
        .connection_timeout(timeouts.connect)
        .response_timeout(timeouts.response)
        .tcp_settings(tcp(timeouts))
        .use_protocol(ProtocolVersion::RESP3);
    if let Some(credentials) = credentials {
        client = client.password(credentials.password.as_str());
        if let Some(username) = &credentials.username {
            client = client.username(username.as_str());
        }
    }
    #[cfg(feature = "redis-tls")]
    if let Some(certificates) = options.certificates() {
        client = client.certs(certificates);
    }
    client.build()
}

impl Connect for Cluster {
    /// The loss of a single node is not the loss of the connection, so `OnLoss` is not called.
    fn connect(&self, _: OnLoss) -> Boxed<'_, Result<Connection, RedisFailure>> {
        Box::pin(async move {
            let credentials = self.options.credentials.current().await?;
            let connection = match &credentials {
                None => self.client.get_async_connection().await?,
                some => client(&self.nodes, &self.options, some.as_ref())?.get_async_connection().await?,
            };
            Ok(Connection::other(connection))
        })
    }

    fn address(&self) -> String {
        self.nodes.iter().map(|node| node.addr().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// One step to the nodes that are given, one to those that they name, and two more if one of these is silent.
    fn steps(&self) -> u32 {
        4
    }

    fn is_cluster(&self) -> bool {
        true
    }
}
