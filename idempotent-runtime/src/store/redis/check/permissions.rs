//! Finds out which of the needed commands the user may not run.
//!
//! Nothing is written: each command is sent in a form that the server refuses, but only after it has checked the user's
//! permissions. Whether the user may use the keys cannot be checked here, because their names begin with the service's
//! namespace. A call that is refused for its key reports it later.

use redis::{Cmd, Value};

use super::Probe;
use crate::store::redis::failure::RedisFailure;

/// A name that no record has. The name of a record has four colons.
const NO_RECORD: &str = "idempotent-permissions";

const IN_SCRIPTS: &str = include_str!("../scripts/permissions.lua");

/// The names of the commands that are refused, in lower case.
pub(super) async fn refused(probe: Probe<'_>) -> Result<Vec<String>, RedisFailure> {
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
