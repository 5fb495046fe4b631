//! A master, its replica and three sentinels that watch them, on free ports.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    Signal, free_port,
    programs::{program, redis_cli},
    redis_server::RedisServer,
    signal, wait_until,
};

/// The name under which the sentinels know the master.
pub const MASTER: &str = "payments";

/// All five; gone when it is dropped.
pub struct Sentinels {
    /// The first master and its replica.
    pub servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
}

impl Sentinels {
    /// They wait so long for a master's answer that they replace none that a busy machine holds up.
    pub fn start() -> Self {
        Self::start_with(10_000)
    }

    /// They soon replace a master that does not answer.
    pub fn start_watchful() -> Self {
        Self::start_with(500)
    }

    /// `down_after`: the milliseconds without an answer after which they take a master for down.
    fn start_with(down_after: u32) -> Self {
        let soon = ["--repl-diskless-sync-delay", "0"];
        let master = RedisServer::start_with(&soon);
        let port = master.port().to_string();
        let replica = RedisServer::start_with(&[&soon[..], &["--replicaof", "127.0.0.1", &port]].concat());
        wait_until("the replica to follow", || master.cli(&["INFO", "replication"]).contains("state=online"));
        let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(master.port(), down_after)).collect();
        for sentinel in &sentinels {
            wait_until("the sentinels to know each other and the replica", || {
                let known = sentinel.cli(&["SENTINEL", "MASTER", MASTER]);
                let known = known.replace('\n', " ");
                known.contains("num-other-sentinels 2") && known.contains("num-slaves 1")
            });
        }
        Self { servers: vec![master, replica], sentinels }
    }

    /// The URLs of the sentinels.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| format!("redis://127.0.0.1:{}", sentinel.port)).collect()
    }

    /// The port that the sentinels name.
    fn master_port(&self) -> u16 {
        self.sentinels[0].master_port()
    }

    /// The server that the sentinels name.
    pub fn master(&mut self) -> &mut RedisServer {
        let port = self.master_port();
        self.servers.iter_mut().find(|server| server.port() == port).expect("one of ours")
    }

    /// Makes the replica the master, though the master is alive.
    pub fn fail_over(&self) {
        let before = self.master_port();
        wait_until("a failover", || self.sentinels[0].cli(&["SENTINEL", "FAILOVER", MASTER]).trim() == "OK");
        wait_until("every sentinel to name another master", || {
            self.sentinels.iter().all(|sentinel| sentinel.master_port() != before)
        });
    }

    /// The first sentinel that is named in [`urls`](Self::urls) stands still.
    pub fn freeze_one(&self) {
        assert!(signal(Signal::SIGSTOP, &[self.sentinels[0].process.id()]), "a sentinel runs");
    }
}

struct Sentinel {
    port: u16,
    process: Child,
    _directory: TempDir,
}

impl Sentinel {
    fn start(master: u16, down_after: u32) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the sentinel");
        let port = free_port();
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nlogfile sentinel.log\n\
             sentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {MASTER} {down_after}\n\
             sentinel failover-timeout {MASTER} 3000\n",
            directory.path().display(),
        );
        let file = directory.path().join("sentinel.conf");
        fs::write(&file, settings).expect("the sentinel's settings");
        let mut command = Command::new(program());
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("cannot run {} ({error}): run tests/run, which installs what is missing", program())
        });
        wait_until("a sentinel to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, process, _directory: directory }
    }

    fn master_port(&self) -> u16 {
        let named = self.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        named.lines().nth(1).and_then(|port| port.trim().parse().ok()).expect("a port")
    }

    fn cli(&self, parts: &[&str]) -> String {
        redis_cli(&[&["-p", &self.port.to_string()], parts].concat())
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // A stopped process is killed all the same.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
