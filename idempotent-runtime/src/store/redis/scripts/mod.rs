//! The Lua scripts, and how they are called. The numbers in them are the offsets of `protocol::codec`, counted
//! from 1. Each script declares the one key that it uses, so that it runs in a cluster and on servers that require it.

use std::{io::Write as _, sync::LazyLock};

use redis::{Cmd, RedisWrite as _, Value};

use super::{failure::RedisFailure, supervisor::Call};

/// A script and its name in the server's cache.
pub(super) struct Script {
    code: &'static str,
    sha: LazyLock<String>,
}

macro_rules! script {
    ($name:literal $(, $flags:literal)?) => {{
        const CODE: &str = concat!($($flags,)? include_str!(concat!($name, ".lua")));
        Script { code: CODE, sha: LazyLock::new(|| redis::Script::new(CODE).get_hash().to_owned()) }
    }};
}
/// Reads a record and its expiry.
pub(super) static READ: Script = script!("read");
/// Changes a record.
pub(super) static SWAP: Script = script!("swap");
/// The same, also when memory is short.
pub(super) static SWAP_URGENT: Script = script!("swap", "#!lua flags=allow-oom\n");
/// An argument in two pieces, such as the header of a record and its body, which need not be joined first.
pub(super) type Argument<'a> = (&'a [u8], &'a [u8]);

/// An argument in one piece.
pub(super) fn whole(argument: &[u8]) -> Argument<'_> {
    (argument, b"")
}

/// How a script is called: by its name in the server's cache, or by its code.
pub(super) struct Invocation<'a> {
    command: &'static str,
    script: &'a str,
}

impl Script {
    /// Runs the script. `command` makes the command; it is called again if the server does not know the script, for
    /// example after a restart: the second try sends the code.
    ///
    /// Only the command is kept while the answer is awaited, and not what it is made of: this future is allocated for
    /// nearly every request.
    pub(super) async fn run(
        &self,
        call: Call<'_>,
        command: impl Fn(Invocation<'_>) -> Cmd,
    ) -> Result<Value, RedisFailure> {
        let by_name = command(Invocation { command: "EVALSHA", script: &self.sha });
        match call.send(&by_name).await {
            Err(cause) if cause.is("NOSCRIPT") => {
                let by_code = command(Invocation { command: "EVAL", script: self.code });
                Box::pin(call.send(&by_code)).await
            }
            answer => answer,
        }
    }
}

impl Invocation<'_> {
    /// The command that runs the script on one key.
    pub(super) fn on(&self, key: &str, arguments: &[Argument<'_>]) -> Cmd {
        let Self { command, script } = self;
        let length: usize = arguments.iter().map(|(one, other)| one.len() + other.len()).sum();
        let mut call =
            Cmd::with_capacity(4 + arguments.len(), command.len() + script.len() + "1".len() + key.len() + length);
        call.arg(command).arg(script).arg("1").arg(key);
        for argument in arguments {
            push_in_pieces(&mut call, *argument);
        }
        call
    }
}

/// Adds an argument to a command.
pub(super) fn push_in_pieces(command: &mut Cmd, (one, other): Argument<'_>) {
    let mut argument = command.writer_for_next_arg();
    // Writing to a command's buffer cannot fail.
    let _ = argument.write_all(one).and_then(|()| argument.write_all(other));
}

#[cfg(test)]
mod tests {
    use super::{READ, SWAP};

    /// Clusters, and servers that assign keys to threads, must know the key from the call. The check of permissions touches
    /// no key: it asks for one that no record has, and a server that refuses that answers for none of its commands.
    #[test]
    fn every_script_declares_its_key() {
        for script in [&READ, &SWAP] {
            let code: String = script.code.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
            for call in code.split("redis.call(").skip(1).chain(code.split("redis.pcall(").skip(1)) {
                let mut arguments = call.split([')', ',']).map(str::trim);
                let (command, key) = (arguments.next(), arguments.next());
                assert!(command == Some("'TIME'") || matches!(key, Some("KEYS[1]" | "key")), "{command:?} of {key:?}");
            }
            assert!(!code.contains("key =") || code.contains("local key, expected = KEYS[1]"), "{code}");
        }
    }
}
