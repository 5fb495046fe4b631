//! Servers of a test's own: a Redis, a cluster of them, or a master that sentinels watch; a NATS server.

// A test that cannot go on says so by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::missing_panics_doc, clippy::must_use_candidate)]

mod freeze;
pub mod monitor;
pub mod nats_server;
pub mod programs;
pub mod redis_cluster;
pub mod redis_server;
pub mod sentinel;

use std::{
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{sys::signal::kill, unistd::Pid};

pub use freeze::{freeze, stands_still};
pub use nix::sys::signal::Signal;

/// What must come, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until the answer is yes, for as long as a busy machine may need.
pub fn wait_until(what: &str, mut ask: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ask() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(20));
    }
}

/// A port of 127.0.0.1 that nobody listens on, for a server that cannot choose one and print it.
///
/// It lies below the ports that Linux gives to outgoing connections and to listeners that ask for any port, so none of
/// those takes it before the server does. A Redis Cluster also uses the port that is 10,000 higher.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 11_000..22_000;
    static NEXT: LazyLock<AtomicU16> =
        LazyLock::new(|| AtomicU16::new(u16::try_from(std::process::id() * 101 % 65_536).unwrap_or_default()));
    PORTS
        .map(|_| PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start))
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a free port")
}

/// Sends a signal to processes. Whether all of them were there.
pub fn signal(signal: Signal, processes: &[u32]) -> bool {
    let mut all = true;
    for &id in processes {
        let process = Pid::from_raw(id.try_into().expect("a process id"));
        all &= kill(process, signal).is_ok();
    }
    all
}
