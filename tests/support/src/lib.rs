//! Code that the tests share: real servers on free ports, a proxy that causes faults, services to protect, and their
//! clients.

// A test panics when it cannot continue.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::missing_panics_doc)]
#![allow(clippy::must_use_candidate)]

pub mod app;
pub mod attempts;
pub mod browser;
pub mod certificates;
pub mod directory;
pub mod example;
pub mod faults;
pub mod faulty_store;
pub mod gate;
pub mod in_process;
pub mod journal_process;
pub mod keys;
pub mod ledger;
pub mod load;
pub mod logged;
pub mod lost_commits;
pub mod observed;
pub mod pgbouncer;
pub mod postgres;
pub mod proxy;
mod recording;
pub mod redis_store;
pub mod shop;
pub mod spans;
pub mod sql_store;

pub use servers::{
    PATIENCE, Signal, free_port, freeze, nats_server, programs, redis_cluster, redis_server, sentinel, signal,
    wait_until,
};
