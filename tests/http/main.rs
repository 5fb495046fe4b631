//! The contract seen from outside: real servers and real sockets, over memory and Redis alike.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod bodies;
mod claims;
mod concurrency;
mod engine;
mod failures;
mod identity;
mod keys;
mod leases;
mod outages;
mod processes;
mod replaying;
mod settings;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod traffic;
mod waiting;
