//! Servers in processes of their own, on one store.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use axum::http::Method;
use support::{Signal, postgres::Postgres, redis_server::RedisServer, signal};
use tempfile::TempDir;

use super::Call;

const SERVER: &str = env!("CARGO_BIN_EXE_test-server");

/// A store, and a directory in which the servers write down what they did.
pub(crate) struct Processes {
    place: Place,
    directory: TempDir,
}

/// Where the servers keep their claims.
enum Place {
    /// Each server has its own.
    Memory,
    Redis(RedisServer),
    /// A database of this name.
    Postgres(String),
    /// A file in the directory.
    Sqlite,
}

impl Processes {
    pub(crate) fn in_memory() -> Self {
        Self::on(Place::Memory)
    }

    pub(crate) fn on_redis() -> Self {
        Self::on(Place::Redis(RedisServer::start()))
    }

    pub(crate) async fn on_postgres() -> Self {
        Self::on(Place::Postgres(Postgres::shared().database().await))
    }

    pub(crate) fn on_sqlite() -> Self {
        Self::on(Place::Sqlite)
    }

    fn on(place: Place) -> Self {
        Self { place, directory: support::directory::in_memory() }
    }

    /// The address of the server that keeps the claims. SQLite has no server.
    pub(crate) fn address(&self) -> SocketAddr {
        match &self.place {
            Place::Redis(server) => server.address(),
            Place::Postgres(_) => Postgres::shared().address(),
            Place::Memory | Place::Sqlite => panic!("there is no server"),
        }
    }

    /// The environment variable that tells a server where the claims are, possibly behind a proxy.
    fn variable(&self, proxy: Option<SocketAddr>) -> (&'static str, String) {
        match &self.place {
            Place::Memory => ("NO_STORE", String::new()),
            Place::Redis(server) => {
                ("REDIS_URL", proxy.map_or_else(|| server.url(), |proxy| format!("redis://{proxy}/")))
            }
            Place::Postgres(database) => {
                ("DATABASE_URL", Postgres::url_at(proxy.unwrap_or_else(|| self.address()), database))
            }
            Place::Sqlite => ("DATABASE_URL", format!("sqlite://{}", self.path().join("keys.db").display())),
        }
    }

    /// A server whose handlers run for as long as [`hold`](Self::hold) says.
    pub(crate) fn start(&self, name: &str) -> ServerProcess {
        self.launch(Command::new(SERVER), name, None)
    }

    /// The same behind a proxy.
    pub(crate) fn start_behind(&self, name: &str, proxy: SocketAddr) -> ServerProcess {
        self.launch(Command::new(SERVER), name, Some(proxy))
    }

    /// The same with a clock that is off, for example by `+1h`.
    pub(crate) fn start_with_clock(&self, name: &str, shift: &str) -> ServerProcess {
        let mut command = Command::new(SERVER);
        command.env("LD_PRELOAD", faketime()).env("FAKETIME", shift);
        self.launch(command, name, None)
    }

    /// The same with a clock of the day that [`set_clock`](Self::set_clock) sets while it runs.
    pub(crate) fn start_with_clock_to_set(&self, name: &str) -> ServerProcess {
        self.set_clock("+0");
        let mut command = Command::new(SERVER);
        command.env("LD_PRELOAD", faketime()).env("FAKETIME_TIMESTAMP_FILE", self.clock_file());
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        self.launch(command, name, None)
    }

    /// Sets the clocks of the servers that were started for it, for example to `+1h`.
    pub(crate) fn set_clock(&self, shift: &str) {
        fs::write(self.clock_file(), format!("{shift}\n")).unwrap();
    }

    fn clock_file(&self) -> std::path::PathBuf {
        self.path().join("clock")
    }

    fn launch(&self, mut command: Command, name: &str, proxy: Option<SocketAddr>) -> ServerProcess {
        let (variable, url) = self.variable(proxy);
        command.env_remove("DATABASE_URL").env_remove("REDIS_URL").env(variable, url);
        command.env("RUNS", self.runs_file()).env("HOLD", self.hold_file(name));
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

    /// Every execution so far, in any process.
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

/// The path of `faketime`'s library. The command `faketime` is not used: it would be another process, and would
/// get the signals that are meant for the server.
fn faketime() -> String {
    let asked = Command::new("faketime").args(["-f", "+0", "env"]).output();
    let asked = asked
        .unwrap_or_else(|error| panic!("cannot run faketime ({error}): install it with `apt-get install faketime`"));
    let variables = String::from_utf8(asked.stdout).unwrap();
    variables.lines().find_map(|line| line.strip_prefix("LD_PRELOAD=")).unwrap().to_owned()
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

    /// Sends SIGKILL: no destructor runs, and no connection is closed in an orderly way.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Stops it.
    pub(crate) fn freeze(&self) {
        support::freeze(self.process.id());
    }

    /// Sends SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, name: Signal) {
        assert!(signal(name, &[self.process.id()]), "{name}");
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
