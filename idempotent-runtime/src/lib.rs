#![doc = include_str!("front_page/quickstart.md")]
#![cfg_attr(feature = "redis", doc = include_str!("front_page/redis.md"))]
#![cfg_attr(feature = "sqlx-sqlite", doc = include_str!("front_page/exactly_once.md"))]
#![doc = include_str!("front_page/reference.md")]
// The guides are compiled with all features only, as docs.rs does.
#![cfg_attr(
    all(feature = "redis", feature = "sqlx-sqlite", feature = "testing"),
    doc = include_str!("front_page/guides.md")
)]
// The documentation shows at each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
// No request may reach a panic of ours.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unreachable)]

#[doc(hidden)]
pub mod __private;
mod admin;
mod assert;
mod backoff;
mod byte_budget;
mod claim;
mod clock;
mod config;
mod engine;
mod error_chain;
// Its examples need these features; docs.rs has all of them.
#[cfg(all(any(doc, doctest), feature = "redis", feature = "sqlx-sqlite", feature = "testing"))]
pub mod guide;
mod http;
mod idempotency;
// Without a journal to build, the engine keeps its seams for one.
#[cfg_attr(not(feature = "_sql"), allow(dead_code, unused_imports))]
mod journal;
#[cfg(any(feature = "aide", feature = "utoipa"))]
pub mod openapi;
mod operation;
mod parts;
mod problem;
// Tests step its operations, by the module `testing`.
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub))]
mod protocol;
pub mod store;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "admin")]
pub use admin::AdminRouter;
pub use admin::{Inspection, RequestName};
pub use claim::{Claim, StepError};
#[cfg(any(feature = "sqlx-postgres", feature = "sqlx-sqlite"))]
pub use claim::{CommitEntry, CommitError, Committed};
pub use config::{AttemptFuture, Outage, policy::Takeover};
pub use http::response::replay::Replay;
pub use idempotency::{Idempotency, IdempotencyBuilder};
pub use idempotent_macros::idempotent;
pub use operation::{Operation, OperationName, Outcome, RunError};
pub use problem::{Problem, ProblemKind, pages as problems};
#[cfg(feature = "encryption")]
pub use store::sealing::EncryptionKeys;
#[cfg(any(feature = "sqlx-postgres", feature = "sqlx-sqlite"))]
pub use store::sql::{CommitDatabase, TableNameError};
pub use store::{MemoryStore, Store, StoreError};
#[cfg(feature = "redis")]
pub use store::{RedisStore, RedisStoreError};
#[cfg(any(feature = "sqlx-postgres", feature = "sqlx-sqlite"))]
pub use store::{SqlStore, SqlStoreError};
pub use telemetry::FirstTraceparent;
#[cfg(feature = "metrics")]
pub use telemetry::STORE_SECONDS_BUCKETS;
