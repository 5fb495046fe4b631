//! Which programs are started: the system's, or others that were fetched.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Names another server program for all tests, such as one of those that `tests/redis-servers` prints.
const PROGRAM: &str = "IDEMPOTENT_REDIS_SERVER";

/// The server program that tests start unless they name one.
pub fn program() -> String {
    std::env::var(PROGRAM).unwrap_or_else(|_| "redis-server".to_owned())
}

/// The first program that `tests/redis-servers` has fetched whose name begins so, for example with `valkey-9`.
pub fn fetched_program(name: &str) -> String {
    let from = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let cache = || from("XDG_CACHE_HOME").or_else(|| Some(from("HOME")?.join(".cache")));
    let folder = from("IDEMPOTENT_SERVERS").or_else(|| Some(cache()?.join("idempotent-redis-servers")));
    let found = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let mut found: Vec<_> = found.map(|entry| entry.path()).collect();
    found.sort();
    let program =
        found.iter().find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)));
    program.unwrap_or_else(|| panic!("no {name} here: run tests/redis-servers, which fetches it")).display().to_string()
}

/// Runs `redis-cli`, which is to succeed.
pub fn redis_cli(parts: &[&str]) -> String {
    let output = Command::new("redis-cli").args(parts).stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("cannot run redis-cli ({error}): install it with `apt-get install redis-tools`")
    });
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{parts:?}: {answer}{}", String::from_utf8_lossy(&output.stderr));
    answer
}
