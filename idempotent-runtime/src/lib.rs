//! Make axum handlers safe to retry.

#[doc(hidden)]
pub mod __private;
mod assert;
mod body;
mod capture;
mod claim;
mod claiming;
mod deadline;
mod error_chain;
mod heartbeat;
mod idempotency;
mod identity;
mod key;
mod policy;
mod problem;
pub mod problems;
mod protect;
mod record;
mod refusal;
mod replay;
mod running;
mod store;
mod waiting;

pub use claim::Claim;
pub use idempotency::{Idempotency, IdempotencyBuilder, Outage};
pub use idempotent_macros::idempotent;
pub use policy::{KeyFormat, Policy, ReplayPolicy, Takeover};
pub use problem::{Problem, ProblemKind};
pub use replay::Replay;
pub use store::{
    Answer, Attempt, Completion, Ending, Fingerprint, MemoryStore, MemoryStoreBuilder, Renewal, Sighting, Store,
    StoreError, StoreKey, Token,
};
