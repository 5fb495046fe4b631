//! Servers in processes of their own, on one Redis.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use axum::http::Method;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::Call;
use crate::support::redis_server::RedisServer;

const SERVER: &str = env!("CARGO_BIN_EXE_test-server");

/// A Redis, and a directory in which the servers tell what they did.
pub(crate) struct Processes {
    pub(crate) redis: RedisServer,
    directory: TempDir,
}

impl Processes {
    pub(crate) fn new() -> Self {
        Self { redis: RedisServer::start(), directory: tempfile::tempdir().unwrap() }
    }

    /// A server whose handlers run for as long as [`hold`](Self::hold) says.
    pub(crate) fn start(&self, name: &str) -> ServerProcess {
        self.launch(Command::new(SERVER), name, &self.redis.url())
    }

    /// The same behind a proxy.
    pub(crate) fn start_behind(&self, name: &str, redis_url: &str) -> ServerProcess {
        self.launch(Command::new(SERVER), name, redis_url)
    }

    /// The same with a clock that is off, for example by `+1h`.
    ///
    /// The library is preloaded here and not by `faketime`, which would be a process between the server and its signals.
    pub(crate) fn start_with_clock(&self, name: &str, shift: &str) -> ServerProcess {
        let asked = Command::new("faketime").args(["-f", shift, "env"]).output().unwrap_or_else(|error| {
            panic!("cannot run faketime ({error}): install it with `apt-get install faketime`")
        });
        let variables = String::from_utf8(asked.stdout).unwrap();
        let preload = variables.lines().find_map(|line| line.strip_prefix("LD_PRELOAD=")).unwrap();
        let mut command = Command::new(SERVER);
        command.env("LD_PRELOAD", preload).env("FAKETIME", shift);
        self.launch(command, name, &self.redis.url())
    }

    fn launch(&self, mut command: Command, name: &str, redis_url: &str) -> ServerProcess {
        command.env("RUNS", self.runs_file()).env("HOLD", self.hold_file(name)).env("REDIS_URL", redis_url);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap_or_else(|_| panic!("test-server did not start: {line:?}"));
        ServerProcess { process, address }
    }

    /// Holds the handlers of the servers of this name, until [`let_go`](Self::let_go).
    pub(crate) fn hold(&self, name: &str) {
        File::create(self.hold_file(name)).unwrap();
    }

    pub(crate) fn let_go(&self, name: &str) {
        fs::remove_file(self.hold_file(name)).unwrap();
    }

    /// Every execution so far, in whatever process.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let lines = fs::read_to_string(self.runs_file()).unwrap_or_default();
        lines.lines().map(Run::parse).collect()
    }

    fn runs_file(&self) -> std::path::PathBuf {
        self.path().join("runs")
    }

    fn hold_file(&self, name: &str) -> std::path::PathBuf {
        self.path().join(format!("hold-{name}"))
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// One execution of a handler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) process: u32,
    pub(crate) recovering: bool,
    pub(crate) fence: u64,
}

impl Run {
    fn parse(line: &str) -> Self {
        let [process, recovering, fence] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        Self {
            process: process.parse().unwrap(),
            recovering: recovering.parse().unwrap(),
            fence: fence.parse().unwrap(),
        }
    }
}

pub(crate) struct ServerProcess {
    process: Child,
    address: SocketAddr,
}

impl ServerProcess {
    pub(crate) fn post(&self, path: &str) -> Call {
        Call::new(Method::POST, format!("http://{}{path}", self.address))
    }

    /// SIGKILL: no destructor runs, no connection says goodbye.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
