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
//! (`idempotent_runtime::testing`, feature `testing`). The example `own_store` is a store in a directory, in eighty lines.
//!
//! A record is a [`Head`], a body of bytes, and the moment when it expires. [`Head::encode`] turns the head into 89 or
//! 105 bytes, and [`Head::decode`] reads them from the start of a record. `encode` must know whether a body follows.
//!
//! Processes that share the store must share one clock too, the server's: it decides what has expired, what is late, and
//! how large a fence is. The example below uses the clock of its process, since nobody else uses its store. A call that
//! was given up must take effect within 30 seconds or never. A write that was answered must outlive a crash of the
//! store, or the crash is a loss of data: the next retry runs again.
//!
//! | method | what it does |
//! |---|---|
//! | [`read`](Store::read) | returns the record, and how long it is still kept |
//! | [`swap`](Store::swap) | if the record is what [`Expect`] says, writes [`Put`]; otherwise returns the record |
//! | [`now`](Store::now) | returns the clock by which records expire |
//!
//! A swap is one atomic step: a lock, a transaction, a conditional put. In it,
//!
//! 1. read the record; one that has expired is [`Seen::Absent`];
//! 2. if [`Put::is_late`] says so, answer [`Swapped::Late`];
//! 3. if [`Expect::allows`] does not allow it, answer [`Swapped::Found`];
//! 4. [raise the fence](Head::raise_fence) of the new head to your clock, in microseconds;
//! 5. write the head, and the body of the put, or the body that is there if it has none; the record expires after
//!    [`Head::kept`], or when it would have expired if [`Put::keep_expiry`] is set;
//! 6. answer [`Swapped::Done`] with the fence.
//!
//! Steps 2 and 3 may change places. A record that is kept for no time is dropped at once: so a key is forgotten. Bytes that
//! `decode` does not read are [`Seen::Unreadable`], never absent.
//!
//! | what your store may lack | what to do |
//! |---|---|
//! | room for a new record | answer [`Swapped::Refused`] with [`StoreError::Full`], unless the put is [urgent](Put::urgent) |
//! | a writable server, but it can be read | answer [`Swapped::Refused`] with what is there: replays go on |
//! | an answer, because the connection broke or took too long | [`StoreError::Unreachable`] or [`StoreError::Timeout`]: the call is repeated |
//! | a permission or a table | [`StoreError::Forbidden`]: it is not repeated for a client that waits |
//! | expiry | compare the moment yourself, as in step 1, and delete what has expired now and then |
//!
//! ```
//! use std::{collections::HashMap, sync::Mutex, time::{Duration, SystemTime, UNIX_EPOCH}};
//!
//! use idempotent_runtime::{Idempotency, Store, StoreError, store::{Expect, Head, Put, Seen, StoreKey, Swapped}};
//!
//! #[derive(Default)]
//! struct Own(Mutex<HashMap<StoreKey, (SystemTime, Head, bytes::Bytes)>>);
//!
//! impl Own {
//!     fn seen(record: Option<&(SystemTime, Head, bytes::Bytes)>) -> Seen {
//!         let Some((expires, head, body)) = record else { return Seen::Absent };
//!         match expires.duration_since(SystemTime::now()) {
//!             Ok(left) if !left.is_zero() => Seen::Record { head: head.clone(), body: Some(body.clone()), left: Some(left) },
//!             _ => Seen::Absent,
//!         }
//!     }
//! }
//!
//! impl Store for Own {
//!     async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
//!         Ok(Self::seen(self.0.lock().unwrap().get(key)))
//!     }
//!
//!     async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
//!         let mut records = self.0.lock().unwrap();
//!         let (seen, now) = (Self::seen(records.get(key)), SystemTime::now());
//!         if put.is_late(now) {
//!             return Ok(Swapped::Late);
//!         }
//!         if !expect.allows(&seen) {
//!             return Ok(Swapped::Found(seen));
//!         }
//!         let mut head = put.head.clone();
//!         head.raise_fence(now.duration_since(UNIX_EPOCH).unwrap().as_micros() as u64);
//!         let fence = head.fence;
//!         let (body, left) = match seen {
//!             Seen::Record { body: Some(body), left: Some(left), .. } => (body, left),
//!             _ => Default::default(),
//!         };
//!         let body = put.body.clone().unwrap_or(body);
//!         let expires = now + if put.keep_expiry { left } else { head.kept };
//!         records.insert(key.clone(), (expires, head, body));
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

mod claims;
pub(crate) mod deadline;
mod handle;
mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod run;
#[cfg(feature = "encryption")]
mod sealed;
#[cfg(feature = "encryption")]
pub(crate) mod sealing;
mod shared;
#[cfg(feature = "_sql")]
mod sql;
mod store_trait;

pub use crate::protocol::{
    Acquired, Change, ClaimOutcome, ClaimRequest, CompleteOutcome, Expect, Fingerprint, ForgetOutcome, Head, HeadBytes,
    Lookup, Put, ReleaseOutcome, RenewOutcome, SaveOutcome, Seen, Stamp, State, StoreError, StoreKey, Swapped, Token,
};
pub use claims::Claims;
pub(crate) use deadline::StoreCall;
pub(crate) use handle::StoreHandle;
pub use memory::{MemoryStore, MemoryStoreBuilder, MemoryUsage};
#[cfg(feature = "redis")]
pub use redis::{RedisCredentials, RedisStore, RedisStoreBuilder, RedisStoreError};
#[cfg(feature = "_sql")]
pub(crate) use run::count;
#[cfg(feature = "_sql")]
pub(crate) use sql::{RECOVERING, RUNNING};
#[cfg(feature = "_sql")]
pub use sql::{SqlStore, SqlStoreError};
pub use store_trait::Store;
