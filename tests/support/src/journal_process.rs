//! The payment service of `journal_server` as a process that a test can kill and stop.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use crate::{PATIENCE, Signal, freeze, signal};

/// A server. Dropping it kills it.
pub struct JournalServer {
    process: Child,
    lines: Receiver<String>,
    /// The address on which it listens.
    pub address: SocketAddr,
}

/// Where the server keeps its claims.
#[derive(Clone, Copy, Debug)]
pub enum Claims<'a> {
    /// In its memory.
    Memory,
    /// In the Redis with this URL.
    Redis(&'a str),
    /// In the database of its ledger.
    Database,
}

impl JournalServer {
    /// Starts the server. `program` is the path of the built `journal-server`, which Cargo gives to tests only.
    /// `journal` is `commit`, `record` or `none`.
    pub fn start(program: &str, database: &str, claims: Claims<'_>, journal: &str) -> Self {
        let mut command = Command::new(program);
        command.env("DATABASE_URL", database).env("JOURNAL", journal).env_remove("REDIS_URL").env_remove("STORE");
        match claims {
            Claims::Memory => {}
            Claims::Redis(url) => {
                command.env("REDIS_URL", url);
            }
            Claims::Database => {
                command.env("STORE", "database");
            }
        }
        Self::spawn(command)
    }

    /// Starts another server that prints its address and what it does.
    pub fn spawn(mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        let stdout = BufReader::new(process.stdout.take().expect("its output"));
        let (send, lines) = channel();
        // The thread ends with the process.
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let address: String = lines.recv_timeout(PATIENCE).expect("it says where it listens");
        Self { process, lines, address: address.parse().expect("an address") }
    }

    /// Waits until a request has reached the point at which it was to stop.
    pub fn wait_for(&self, point: &str) {
        let line = self.lines.recv_timeout(PATIENCE);
        assert_eq!(line.as_deref(), Ok(format!("reached {point}").as_str()));
    }

    /// Lets the stopped requests go on.
    pub fn go_on(&self) {
        let mut input = self.process.stdin.as_ref().expect("its input");
        input.write_all(b"\n").expect("it reads");
    }

    /// The lines that it printed until a request reached this point.
    pub fn said_until(&self, point: &str) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it says no more than {said:?} before {point}"));
            if line == format!("reached {point}") {
                return said;
            }
            said.push(line);
        }
    }

    /// Kills it, and returns the lines that it printed and that were not read yet.
    pub fn said(mut self) -> Vec<String> {
        self.process.kill().expect("it is ours to kill");
        // The iteration ends with the output of the process.
        self.lines.iter().collect()
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) {
        self.process.kill().expect("it is ours to kill");
        self.process.wait().expect("it ends");
    }

    /// Stops it.
    pub fn freeze(&self) {
        freeze(self.process.id());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        assert!(signal(Signal::SIGCONT, &[self.process.id()]), "it runs");
    }
}

impl Drop for JournalServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
