//! What the tests share: real servers on free ports, a proxy that breaks things, an HTTP client.

// Every test binary compiles all of this and uses a part of it.
#![allow(dead_code, unreachable_pub)]
// A test that cannot go on says so by panicking.
#![allow(clippy::missing_panics_doc)]

pub mod attempts;
pub mod browser;
pub mod certificates;
pub mod example;
pub mod faults;
pub mod faulty_store;
pub mod gate;
pub mod load;
pub mod observed;
pub mod postgres;
pub mod proxy;
pub mod redis_cluster;
pub mod redis_server;
pub mod sentinel;
pub mod sql_store;
