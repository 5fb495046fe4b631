//! A Redis Cluster: the client crate finds the node of a key, and follows when slots move.

use std::time::Duration;

use redis::{ConnectionInfo, ErrorKind, ProtocolVersion, RedisError, RedisResult, cluster::ClusterClient};

use super::{Boxed, Dial, Link, OnLoss, Tls, prepare, tcp};
use crate::store::redis::supervisor::Patience;

/// The crate's own repeats, within our deadline: enough to follow a moved slot, or to meet a node that has just come.
const RETRIES: u32 = 3;
/// Between them, in milliseconds. The crate's own go up to 1.28 s.
const PAUSES: (u64, u64) = (20, 100);

/// A cluster, by the addresses of some of its nodes.
pub(in super::super) struct Cluster {
    client: ClusterClient,
    address: String,
}

impl Cluster {
    pub(in super::super) fn new(urls: &[String], tls: &Tls, patience: Patience) -> Result<Self, RedisError> {
        let unacknowledged = patience.response.saturating_mul(4);
        let nodes = urls.iter().map(|url| prepare(url, unacknowledged)).collect::<RedisResult<Vec<_>>>()?;
        let address = nodes.iter().map(|node| node.addr().to_string()).collect::<Vec<_>>().join(", ");
        if nodes.is_empty() {
            return Err((ErrorKind::InvalidClientConfig, "a cluster needs the address of a node").into());
        }
        Ok(Self { client: client(nodes, tls, patience, unacknowledged)?, address })
    }
}

fn client(
    nodes: Vec<ConnectionInfo>,
    tls: &Tls,
    patience: Patience,
    unacknowledged: Duration,
) -> RedisResult<ClusterClient> {
    let client = ClusterClient::builder(nodes)
        .retries(RETRIES)
        .min_retry_wait(PAUSES.0)
        .max_retry_wait(PAUSES.1)
        .connection_timeout(patience.connect)
        .response_timeout(patience.response)
        .tcp_settings(tcp(unacknowledged))
        .use_protocol(ProtocolVersion::RESP3);
    #[cfg(feature = "redis-tls")]
    let client = {
        super::tls::choose_cryptography();
        if let Some(certificates) = tls.certificates() { client.certs(certificates) } else { client }
    };
    #[cfg(not(feature = "redis-tls"))]
    let _ = tls;
    client.build()
}

impl Dial for Cluster {
    /// A single node's loss is no loss of the link, so nobody is told.
    fn dial(&self, _: OnLoss) -> Boxed<'_, RedisResult<Box<dyn Link>>> {
        Box::pin(async move { Ok(Box::new(self.client.get_async_connection().await?) as Box<dyn Link>) })
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    /// To the nodes that are named, to those that they name, and twice more for a node of these that is silent.
    fn steps(&self) -> u32 {
        4
    }

    fn is_many(&self) -> bool {
        true
    }
}
