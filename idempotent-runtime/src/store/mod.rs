//! The trait [`Store`], and the types that it uses.
//!
//! A store is a register: for each [`StoreKey`] it keeps one record, and it changes the record only if that is what the
//! caller expects. It knows nothing of leases, of attempts that died, or of what a body means. Those rules are in one
//! place for all stores.
//!
//! [`MemoryStore`] is for one process, [`RedisStore`] for many, `SqlStore` for services with a database.
//!
//! # A store of your own
//!
//! Implement three methods of [`Store`], and test them with the conformance suite that our stores pass
//! (`idempotent_runtime::testing`, feature `testing`). The example `own_store` is a store in a directory, in seventy-five
//! lines.
//!
//! | method | what it does |
//! |---|---|
//! | [`read`](Store::read) | returns the record of a key, and how long it is still kept |
//! | [`swap`](Store::swap) | if the record is what [`Expect`] says, writes [`Put`]; otherwise returns the record |
//! | [`now`](Store::now) | returns the clock by which records expire |
//!
//! **A record** is a [`Head`], a body of bytes (perhaps empty), and the moment when it expires. It is [`Seen::Absent`] from
//! that moment on, also if its bytes are still there. A store that has no expiry compares the moment itself, and deletes
//! what has expired now and then. Bytes that cannot be read as a record are [`Seen::Unreadable`], never absent. `read`
//! returns the body and the time left of every record that it finds.
//!
//! **As bytes:** [`Write::to_bytes`] has the head and the body, and [`Head::decode`] reads them. The moment of expiry is not
//! in them: keep it beside them. **In columns:**
//!
//! | what | type |
//! |---|---|
//! | token | 16 bytes: [`Token::as_bytes`], [`Token::from_bytes`] |
//! | change | a signed integer of 64 bits: [`Change::number`], [`Change::new`] |
//! | state | four values: running, running and recovering, done, freed ([`State`]) |
//! | fence | a signed integer of 64 bits, at most [`Head::LARGEST_FENCE`] |
//! | lease, kept | whole milliseconds, rounded up: [`Head::kept_millis`] |
//! | fingerprint | 32 bytes: [`Fingerprint::as_bytes`], [`Fingerprint::from_bytes`] |
//! | body | bytes, up to the service's `max_response` and some headers |
//! | expires | a moment, in milliseconds or finer |
//!
//! **A key** is a [`StoreKey`] of at most 3,829 ASCII characters: letters, digits, and `- . _ ~ / % : # *`. Upper and lower
//! case differ. Where names are shorter or folded, use a hash of it, as the example does.
//!
//! **A swap** is one atomic step: a lock, a transaction, a conditional put. Within it, read the record and call
//! [`Put::over`]. It says what to write, or what to answer instead. Write the new head and body so that they expire after
//! [`Write::keep`], and answer [`Swapped::Done`] with the fence that was written. If `keep` is zero, the record is dropped
//! at once: so a key is forgotten. A store that compares elsewhere, by a statement or a script, does there what `over`
//! does:
//!
//! 1. if [`Put::not_after`] has passed, answer [`Swapped::Late`];
//! 2. if [`Expect`] does not hold, answer [`Swapped::Found`] with the record;
//! 3. if the change of the new head is below [`Change::COUNTED`], raise its fence to the clock, in microseconds since 1970;
//! 4. if [`Put::body`] is `None`, keep the body that is there;
//! 5. the record expires after [`Head::kept`], or when it would have expired before if [`Put::keep_expiry`] is set.
//!
//! **The clock** is one for all processes that share the store: the server's. It decides what has expired, what is late,
//! and how large a fence is. A swap reads it once: between two readings, an expiry that is kept would come nearer. The
//! examples use the clock of their process, since nobody else uses their store. Where other
//! services may keep records in the same place, let [`is_shared`](Store::is_shared) return `true`, its default: a service
//! that has not chosen a namespace is then warned at its start.
//!
//! **Time:** the engine drops the future of a call after the service's `store_timeout` (500 ms by default). What was sent
//! must then take effect within 30 seconds or never. A method that blocks its thread blocks other requests: use
//! `tokio::task::spawn_blocking` for what takes longer than a write to a local disk. A write that was answered must outlive
//! a crash of the store, or the crash is a loss of data: the next retry runs again.
//!
//! | what your store may lack | what to do |
//! |---|---|
//! | room for a new record | answer [`Swapped::Refused`] with [`StoreError::Full`], unless the put is [urgent](Put::urgent) |
//! | a writable server, but it can be read | answer [`Swapped::Refused`] with what is there: replays go on |
//! | an answer, because the connection broke or took too long | [`StoreError::Unreachable`] or [`StoreError::Timeout`]: the call is repeated |
//! | a permission or a table | [`StoreError::Forbidden`]: it is not repeated for a client that waits |
//!
//! ```
//! use std::{collections::HashMap, sync::Mutex, time::SystemTime};
//!
//! use bytes::Bytes;
//! use idempotent_runtime::{Idempotency, Store, StoreError, store::{Expect, Head, Put, Seen, StoreKey, Swapped}};
//!
//! #[derive(Default)]
//! struct Own(Mutex<HashMap<StoreKey, (SystemTime, Head, Bytes)>>);
//!
//! fn seen(record: Option<&(SystemTime, Head, Bytes)>, now: SystemTime) -> Seen {
//!     let Some((expires, head, body)) = record else { return Seen::Absent };
//!     match expires.duration_since(now) {
//!         Ok(left) if !left.is_zero() => Seen::Record { head: head.clone(), body: Some(body.clone()), left: Some(left) },
//!         _ => Seen::Absent,
//!     }
//! }
//!
//! impl Store for Own {
//!     async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
//!         Ok(seen(self.0.lock().unwrap().get(key), SystemTime::now()))
//!     }
//!
//!     async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
//!         let (mut records, now) = (self.0.lock().unwrap(), SystemTime::now());
//!         let write = match put.over(seen(records.get(key), now), expect, now) {
//!             Ok(write) => write,
//!             Err(answer) => return Ok(answer),
//!         };
//!         let fence = write.head.fence;
//!         records.insert(key.clone(), (now + write.keep, write.head, write.body));
//!         Ok(Swapped::Done { fence })
//!     }
//!
//!     async fn now(&self) -> Result<SystemTime, StoreError> {
//!         Ok(SystemTime::now())
//!     }
//! }
//!
//! let idempotency = Idempotency::new(Own::default());
//! # #[cfg(feature = "testing")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
//! #     .block_on(idempotent_runtime::testing::conformance(Own::default()));
//! ```

mod count;
pub(crate) mod deadline;
#[cfg(feature = "testing")]
mod faults;
mod handle;
mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "encryption")]
mod sealed;
#[cfg(feature = "encryption")]
pub(crate) mod sealing;
#[cfg(feature = "_sql")]
pub(crate) mod sql;
mod store_trait;

pub use crate::protocol::{
    Acquired, Change, ClaimOutcome, ClaimRequest, CompleteOutcome, Expect, Fingerprint, ForgetOutcome, Head, HeadBytes,
    Lookup, Put, ReleaseOutcome, RenewOutcome, SaveOutcome, Seen, Stamp, State, StoreError, StoreKey, Swapped, Token,
    Write,
};
#[cfg(feature = "_sql")]
pub(crate) use count::count;
#[doc(hidden)]
pub use deadline::BoxFuture;
pub(crate) use deadline::StoreCall;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use faults::Faults;
#[doc(hidden)]
pub use handle::Claims;
pub(crate) use handle::StoreHandle;
pub use memory::{MemoryStore, MemoryStoreBuilder, MemoryUsage};
#[cfg(feature = "redis")]
pub use redis::{RedisCredentials, RedisStore, RedisStoreBuilder, RedisStoreError};
#[cfg(feature = "_sql")]
pub use sql::{SqlStore, SqlStoreError};
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use store_trait::BoxedStore;
pub use store_trait::Store;
