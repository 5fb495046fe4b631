//! Checks whether a server may keep claims, and whether its user may run the needed commands.

mod info;
mod permissions;

use std::time::Duration;

use redis::{Cmd, Value};
use tokio::time::timeout;

pub(super) use self::info::ServerInfo;
use super::{connect::Connection, error::RedisStoreError, failure::RedisFailure};

/// What the check found.
pub(super) struct Checked {
    /// One entry for each node. `None` when `INFO` is not permitted. Then nothing can be watched.
    pub(super) nodes: Option<Vec<(Option<String>, ServerInfo)>>,
    /// The connection leads to several servers.
    pub(super) is_cluster: bool,
}

/// A connection, and the time limit for an answer.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    pub(super) connection: &'a Connection,
    pub(super) address: &'a str,
    pub(super) limit: Duration,
    /// One of several servers may be silent while the others work.
    pub(super) is_cluster: bool,
}

impl Probe<'_> {
    async fn send(&self, command: &Cmd) -> Result<Value, RedisFailure> {
        timeout(self.limit, self.connection.send(command)).await.unwrap_or(Err(RedisFailure::TimedOut))
    }
}

/// Refuses servers that must not keep claims, and users that may not run the needed commands.
pub(super) async fn check(probe: Probe<'_>, allow_eviction: bool) -> Result<Checked, RedisStoreError> {
    let failed = |cause| RedisStoreError::at(probe.address, cause);
    let checked = match probe.send(&redis::cmd("INFO")).await {
        Ok(info) => {
            let nodes = ServerInfo::read(&info);
            let is_cluster = matches!(info, Value::Map(_));
            nodes.iter().try_for_each(|(_, node)| node.judge(allow_eviction, is_cluster))?;
            for (_, node) in &nodes {
                node.warn();
            }
            Checked { nodes: Some(nodes), is_cluster }
        }
        Err(cause @ (RedisFailure::Server(_) | RedisFailure::Forbidden)) => {
            crate::telemetry::log!(INFO_REFUSED, %cause);
            Checked { nodes: None, is_cluster: probe.is_cluster }
        }
        Err(cause) if probe.is_cluster => {
            crate::telemetry::log!(NODE_WITHOUT_INFO, %cause);
            Checked { nodes: Some(Vec::new()), is_cluster: true }
        }
        Err(cause) => return Err(failed(cause)),
    };
    match permissions::refused(probe).await {
        Ok(refused) if refused.is_empty() => Ok(checked),
        Ok(refused) => Err(RedisStoreError::forbidden(probe.address, &refused)),
        Err(cause) if checked.is_cluster => {
            crate::telemetry::log!(NODE_WITHOUT_PERMISSIONS, %cause);
            Ok(checked)
        }
        Err(cause) => Err(failed(cause)),
    }
}
