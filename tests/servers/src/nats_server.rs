//! A NATS server of a test's own, with `JetStream`.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::wait_until;

/// A server on a port that it chooses itself. It is gone, with its messages, when this is dropped.
pub struct NatsServer {
    process: Child,
    url: String,
    _directory: TempDir,
}

impl NatsServer {
    /// Starts it, and waits until it listens.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for nats-server");
        let mut command = Command::new("nats-server");
        // It writes the port that it has taken into a file.
        command.args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--ports_file_dir"]).arg(directory.path());
        command.arg("--store_dir").arg(directory.path().join("messages"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("cannot run nats-server ({error}): run tests/run, which installs what is missing")
        });
        let ports = directory.path().join(format!("nats-server_{}.ports", process.id()));
        let mut url = None;
        wait_until("nats-server to listen", || {
            // {"nats":["nats://127.0.0.1:40361"]}
            let ports = fs::read_to_string(&ports).unwrap_or_default();
            url = ports.split('"').find(|text| text.starts_with("nats://")).map(str::to_owned);
            url.is_some()
        });
        Self { process, url: url.expect("it was found"), _directory: directory }
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same as an address.
    pub fn address(&self) -> std::net::SocketAddr {
        self.url.trim_start_matches("nats://").parse().expect("an address")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
