//! Checks whether a server may keep claims, and whether its user may run the needed commands.

mod info;

use std::time::Duration;

use redis::{Cmd, Value};
use tokio::time::timeout;

pub(super) use self::info::ServerInfo;
use super::{
    connect::{Connect, Connection},
    error::RedisStoreError,
    failure::RedisFailure,
};

/// What the servers say of themselves, one entry for each node. `None` when `INFO` is not permitted.
pub(super) type Nodes = Option<Vec<(Option<String>, ServerInfo)>>;

/// A connection, and the time limit for an answer.
#[derive(Clone, Copy)]
struct Probe<'a> {
    connection: &'a Connection,
    limit: Duration,
}

impl Probe<'_> {
    async fn send(&self, command: &Cmd) -> Result<Value, RedisFailure> {
        timeout(self.limit, self.connection.send(command)).await.unwrap_or(Err(RedisFailure::TimedOut))
    }
}

/// Refuses servers that must not keep claims, and users that may not run the needed commands. Of several servers, one may
/// be silent while the others work.
pub(super) async fn check(
    connect: &dyn Connect,
    connection: &Connection,
    limit: Duration,
    allow_eviction: bool,
) -> Result<Nodes, RedisStoreError> {
    let (probe, address) = (Probe { connection, limit }, connect.address());
    let failed = |cause| RedisStoreError::at(&address, cause);
    let nodes = match probe.send(&redis::cmd("INFO")).await {
        Ok(info) => {
            if let Value::Map(_) = info {
                connect.found_cluster();
            }
            let nodes = ServerInfo::read(&info);
            nodes.iter().try_for_each(|(_, node)| node.judge(allow_eviction, connect.is_cluster()))?;
            for (_, node) in &nodes {
                node.warn();
            }
            Some(nodes)
        }
        Err(cause @ (RedisFailure::Server(_) | RedisFailure::Forbidden)) => {
            crate::telemetry::log!(INFO_REFUSED, %cause);
            None
        }
        Err(cause) if connect.is_cluster() => {
            crate::telemetry::log!(NODE_WITHOUT_INFO, %cause);
            Some(Vec::new())
        }
        Err(cause) => return Err(failed(cause)),
    };
    match refused(probe).await {
        Ok(refused) if refused.is_empty() => Ok(nodes),
        Ok(refused) => Err(RedisStoreError::forbidden(&address, &refused)),
        Err(cause) if connect.is_cluster() => {
            crate::telemetry::log!(NODE_WITHOUT_PERMISSIONS, %cause);
            Ok(nodes)
        }
        Err(cause) => Err(failed(cause)),
    }
}

/// A name that no record has. The name of a record has four colons.
const NO_RECORD: &str = "idempotent-permissions";

const IN_SCRIPTS: &str = include_str!("../scripts/permissions.lua");

/// The names of the commands that the user may not run, in lower case.
///
/// Nothing is written: each command is sent in a form that the server refuses, but only after it has checked the user's
/// permissions. Whether the user may use the keys cannot be checked here, because their names begin with the service's
/// namespace. A call that is refused for its key reports it later.
async fn refused(probe: Probe<'_>) -> Result<Vec<String>, RedisFailure> {
    let mut refused = Vec::new();
    // The server answers "syntax error", because NX and XX exclude each other.
    let set = redis::cmd("SET").arg(NO_RECORD).arg("").arg("NX").arg("XX").take();
    // The server answers NOSCRIPT.
    let evalsha = redis::cmd("EVALSHA").arg("0".repeat(40)).arg(0).take();
    for (name, command) in [("set", set), ("evalsha", evalsha)] {
        if is_refused(probe, &command).await? {
            refused.push(name.to_owned());
        }
    }
    match probe.send(redis::cmd("EVAL").arg(IN_SCRIPTS).arg(0).arg(NO_RECORD)).await {
        Ok(Value::Array(names)) => {
            let names = names.iter().filter_map(|name| redis::from_redis_value_ref::<String>(name).ok());
            refused.extend(names.map(|name| name.to_lowercase()));
        }
        Err(RedisFailure::Forbidden) => refused.push("eval".to_owned()),
        Ok(_) | Err(RedisFailure::Server(_)) => {}
        Err(cause) => return Err(cause),
    }
    refused.sort_unstable();
    refused.dedup();
    Ok(refused)
}

async fn is_refused(probe: Probe<'_>, command: &Cmd) -> Result<bool, RedisFailure> {
    match probe.send(command).await {
        Err(RedisFailure::Forbidden) => Ok(true),
        // The user may run the command. The server cannot answer it now, or the user may not use this key.
        Ok(_) | Err(RedisFailure::Server(_) | RedisFailure::ForbiddenKey) => Ok(false),
        Err(cause) => Err(cause),
    }
}
