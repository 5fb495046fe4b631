//! Redis servers of a test's own: one, a cluster of them, or a master that sentinels watch.

// A test that cannot go on says so by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::missing_panics_doc, clippy::must_use_candidate)]

pub mod monitor;
pub mod programs;
pub mod redis_cluster;
pub mod redis_server;
pub mod sentinel;

use std::{
    net::TcpListener,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{sys::signal::kill, unistd::Pid};

pub use nix::sys::signal::Signal;

/// What must come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until the answer is yes, for as long as a busy machine may need.
pub fn wait_until(what: &str, mut ask: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ask() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(20));
    }
}

/// A port of 127.0.0.1 that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
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
