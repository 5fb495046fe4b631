//! The scripts, and how one is called. Their numbers are the offsets of `header.rs`, counted from 1.

use std::sync::LazyLock;

use redis::{Cmd, Value};

use super::{cause::Cause, supervisor::Supervisor};

/// A script and its name in the server's cache.
pub(super) struct Script {
    code: &'static str,
    sha: LazyLock<String>,
}

macro_rules! script {
    ($name:literal) => {
        Script {
            code: include_str!(concat!($name, ".lua")),
            sha: LazyLock::new(|| redis::Script::new(include_str!(concat!($name, ".lua"))).get_hash().to_owned()),
        }
    };
}
pub(super) static TAKEOVER: Script = script!("takeover");
pub(super) static LOOK: Script = script!("look");
pub(super) static RENEW: Script = script!("renew");
pub(super) static COMPLETE: Script = script!("complete");
pub(super) static REPLACE: Script = script!("replace");
pub(super) static RELEASE: Script = script!("release");
pub(super) static ABANDON: Script = script!("abandon");
pub(super) static FORGET: Script = script!("forget");

impl Script {
    /// Runs the script on one key. A server that does not know it, after a restart say, gets it with the second try.
    pub(super) async fn run(&self, redis: &Supervisor, key: &str, arguments: &[&[u8]]) -> Result<Value, Cause> {
        let by_name = command("EVALSHA", self.sha.as_str(), key, arguments);
        match redis.ask(&by_name).await {
            Err(Cause::Server(code)) if code == "NOSCRIPT" => {
                redis.ask(&command("EVAL", self.code, key, arguments)).await
            }
            answer => answer,
        }
    }
}

fn command(name: &str, script: &str, key: &str, arguments: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(1).arg(key).arg(arguments);
    command
}
