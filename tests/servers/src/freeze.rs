//! Stops a process in such a way that nothing of it goes on, and that it is in nobody's way.

use std::fs;

use crate::{Signal, signal, wait_until};

/// Stops a process by SIGSTOP, and returns when it stands still and is in the middle of no write to a file.
///
/// SIGSTOP is handled by one thread of the process. The others go on until that one is scheduled, which takes long on a busy
/// machine. And a process that is stopped while it writes to a database in a file keeps all others from writing. Then it goes
/// on for a moment, and is stopped again.
///
/// # Panics
/// If it does not run, or always writes.
pub fn freeze(process: u32) {
    wait_until("a process to be stopped between two writes", || {
        assert!(signal(Signal::SIGSTOP, &[process]), "it runs");
        wait_until("a process to stand still", || stands_still(process));
        let is_writing = has_locked_a_file(process);
        if is_writing {
            assert!(signal(Signal::SIGCONT, &[process]), "it runs");
        }
        !is_writing
    });
}

/// Whether every thread of a process is stopped.
pub fn stands_still(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    threads.flatten().all(|thread| {
        // One that has ended since has no file.
        let status = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses.
        status.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
    })
}

/// Whether it has locked a part of a file for itself, as SQLite does while it writes.
fn has_locked_a_file(process: u32) -> bool {
    let (locks, process) = (fs::read_to_string("/proc/locks").expect("Linux has this file"), process.to_string());
    // 3: POSIX  ADVISORY  WRITE 5387 00:1b:320 120 120
    locks.lines().any(|lock| {
        let mut words = lock.split_whitespace().skip(1);
        words.next() == Some("POSIX") && words.nth(1) == Some("WRITE") && words.next() == Some(process.as_str())
    })
}
