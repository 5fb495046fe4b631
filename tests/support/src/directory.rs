//! Directories for what a test, or a program that it starts, writes.

use tempfile::TempDir;

/// A directory that is removed with the test. It is in memory where the system has a place for that: a disk that is busy
/// with other work may take longer to write than a store may take to answer.
pub fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}
