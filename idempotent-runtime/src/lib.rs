//! Make axum handlers safe to retry.
//!
//! A client whose request timed out cannot know whether it was carried out, so it tries again, and two orders stand in
//! the database. With the attribute [`macro@idempotent`] the client's `Idempotency-Key` is claimed atomically, the
//! handler runs once, its response is stored, and every retry is answered with it.
//!
//! ```
//! use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
//! use axum::extract::FromRef;
//! use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
//!
//! // 1. Annotate the handlers that must not run twice. Others stay as they are.
//! #[idempotent(ttl = "24h")]
//! async fn create_payment(State(app): State<App>, Json(amount): Json<u64>) -> (StatusCode, Json<u64>) {
//!     (StatusCode::CREATED, Json(amount))
//! }
//!
//! // 2. Let the router's state offer an `Idempotency`. Forgotten, it is a compile error.
//! #[derive(Clone)]
//! struct App {
//!     idempotency: Idempotency,
//! }
//!
//! impl FromRef<App> for Idempotency {
//!     fn from_ref(app: &App) -> Self {
//!         app.idempotency.clone()
//!     }
//! }
//!
//! // 3. Choose a store: `MemoryStore` for one process, `RedisStore` for many, `SqlStore` for a database of your own.
//! let app = App { idempotency: Idempotency::builder(MemoryStore::new()).namespace("payments").build() };
//! let router: Router = Router::new().route("/payments", post(create_payment)).with_state(app);
//! ```
//!
//! A retry gets the stored status, headers and bytes, and `Idempotent-Replayed: true`; a duplicate that comes while the
//! first runs gets 409 with `Retry-After`, or waits for it (`wait = "5s"`); the same key with another request is 422.
//!
//! # What to know before it is deployed
//!
//! - **Clients send keys.** A request without one is refused with 400, unless `required = false`.
//! - **Whose key is it?** Callers are told apart by their `Authorization` header
//!   ([`credentials`](IdempotencyBuilder::credentials)), so that nobody is shown another one's response. If a client's
//!   token may change between tries, name the user instead: `scope = user.id`.
//! - **What is stored?** 2xx, 3xx and the 4xx that would come out the same again; a 5xx frees the key. `replay` changes
//!   that for a handler, [`Replay`] for one response.
//! - **When does it run twice?** When an attempt died (its process was killed, or stood still beyond its `lease`), the
//!   next one runs again and [`Claim::recovering`] says so; with `takeover = "refuse"` it is answered with 409.
//!   [`Claim::derive_key`] makes services downstream recognise the second attempt; a journal makes the first one's
//!   transaction the only one.
//! - **Several effects?** A handler that charges, writes and mails must not start over after a crash: make each effect a
//!   [`Claim::step`].
//! - **A deploy stops attempts.** An attempt goes on when its client hangs up, and outlives the connection: call
//!   [`Idempotency::drain`] after axum has shut down.
//! - **Extractors run on every retry**, before any replay: authentication belongs there. A check that depends on the
//!   effect ("still unpaid?") belongs in the handler.
//!
//! # Where to look
//!
//! | to … | see |
//! |---|---|
//! | set a handler's options | [`macro@idempotent`] |
//! | set a service's options | [`Idempotency::builder`] |
//! | know one's claim in a handler | [`Claim`] |
//! | save effects outside one database | [`Claim::step`] |
//! | commit a response in one's own transaction | `SqlJournal` and `Claim::commit` (features below) |
//! | read what a client can meet | [`problems`] |
//! | write a store | [`Store`] |
//!
//! # Features
//!
//! | feature | default | brings |
//! |---|---|---|
//! | `redis` | yes | [`RedisStore`]: one server, by TCP or a Unix socket, or a connection that there is already |
//! | `redis-cluster` | no | [`RedisStore::connect_cluster`](RedisStore) |
//! | `redis-sentinel` | no | [`RedisStore::connect_sentinel`](RedisStore) |
//! | `redis-tls` | no | `rediss://` addresses, by rustls with ring |
//! | `admin` | no | `AdminRouter`: pages and JSON for support, to mount on an internal port |
//! | `metrics` | no | counters, gauges and histograms by the `metrics` facade; `docs/operations.md` names them |
//! | `sqlx-sqlite`, `sqlx-postgres` | no | `SqlStore`: claims in the service's own database; `SqlJournal` and `Claim::commit`: exactly once, in the user's transaction |
//! | `utoipa` | no | `openapi`: what the attribute says, in the OpenAPI document of a `utoipa::path` below it |
//! | `aide` | no | protected handlers in `aide`'s `api_route`, with the header and the problems |
//! | `encryption` | no | [`EncryptionKeys`]: records and steps encrypted, names hashed |
//! | `testing` | no | [`testing`]: the conformance suite for stores |
//!
//! # Sources of the rules
//!
//! The Idempotency-Key header: [draft-ietf-httpapi-idempotency-key-header](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/),
//! sections 2.1 (syntax), 2.4 (fingerprint), 2.6 (enforcement) and 2.7 (errors); the key's syntax: RFC 9651, section
//! 3.3.3; errors: RFC 9457; safe methods and hop-by-hop fields: RFC 9110, sections 9.2.1 and 7.6.1.

// The documentation shows at each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
// No request may reach a panic of ours.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unreachable)]

#[doc(hidden)]
pub mod __private;
mod admin;
mod assert;
mod body;
mod captured;
mod claim;
mod config;
mod deferred;
mod engine;
mod error_chain;
// Its examples need these features; docs.rs has all of them.
#[cfg(all(any(doc, doctest), feature = "redis", feature = "sqlx-sqlite", feature = "testing"))]
pub mod guide;
mod idempotency;
// Without a journal to build, the engine keeps its seams for one.
#[cfg_attr(not(feature = "_sql"), allow(dead_code, unused_imports))]
pub mod journal;
#[cfg(any(feature = "aide", feature = "utoipa"))]
pub mod openapi;
mod request;
mod response;
#[cfg(feature = "_sql")]
mod sql;
pub mod store;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "admin")]
pub use admin::AdminRouter;
pub use admin::{Inspection, RequestName};
pub use claim::{Claim, StepError};
pub use config::{AttemptFuture, Outage, policy::Takeover};
pub use idempotency::{Idempotency, IdempotencyBuilder};
pub use idempotent_macros::idempotent;
#[cfg(feature = "_sql")]
pub use journal::{CommitError, Committed, SqlJournal};
#[cfg(feature = "encryption")]
pub use response::sealing::EncryptionKeys;
pub use response::{
    problem::{Problem, ProblemKind},
    problems,
    replay::Replay,
};
#[cfg(feature = "_sql")]
pub use store::SqlStore;
pub use store::{MemoryStore, Store, StoreError};
#[cfg(feature = "redis")]
pub use store::{RedisStore, RedisStoreError};
#[cfg(feature = "metrics")]
pub use telemetry::STORE_SECONDS_BUCKETS;
