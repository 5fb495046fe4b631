//! The contract as a client sees it: real servers and real sockets, over every store.

// A test that cannot go on panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod blocking;
mod callers;
mod claims;
mod concurrency;
mod content;
mod dated;
mod engine;
mod failures;
mod identity;
mod keys;
mod leases;
mod misspelt;
mod operations;
mod order;
mod outages;
mod paused;
mod processes;
mod renewing;
mod replaying;
mod reports;
mod request_bodies;
mod response_bodies;
mod rewritten;
mod sealed;
mod settings;
mod settling;
mod stage;
mod steps;
mod terms;
mod traffic;
mod unreadable;
mod unsaved;
mod unused_claims;
mod values;
mod waiting;
mod zombies;
