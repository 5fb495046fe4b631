//! What a crash leads to: processes are killed at each point of a request's life, and a client retries.
//!
//! The resulting tables are printed, and have to be the same as those in `docs/reliability.md`.

mod downstream;
mod matrix;
mod steps;

use tempfile::TempDir;
use uuid::Uuid;

/// Fails if the page has another table.
fn is_documented(table: &str) {
    println!("{table}");
    let documentation = include_str!("../../docs/reliability.md");
    assert!(documentation.contains(table), "docs/reliability.md has another table than:\n{table}");
}

/// The URL of a database in a file that does not exist yet.
fn new_file(directory: &TempDir) -> String {
    format!("sqlite://{}", directory.path().join(Uuid::new_v4().to_string()).display())
}
