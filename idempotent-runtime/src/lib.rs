//! Make axum handlers safe to retry.

mod policy;
mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use policy::{KeyFormat, Policy, ReplayPolicy, Takeover};
pub use store::{
    Answer, Attempt, Completion, Ending, Fingerprint, MemoryStore, MemoryStoreBuilder, Renewal, Sighting, Store,
    StoreError, StoreKey, Token,
};
#[cfg(feature = "redis")]
pub use store::{RedisStore, RedisStoreBuilder, RedisStoreError};
