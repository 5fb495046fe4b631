//! What a protected handler adds to an OpenAPI document.
//!
//! # `utoipa`
//!
//! With the feature `utoipa`, a `utoipa::path` **below** `#[idempotent]` gains all of it without a word of yours:
//!
//! - the header parameter: its name, whether it is required, its format and its greatest length;
//! - each problem that the handler can be answered for with, as `application/problem+json` with a schema and an example of
//!   each kind, beside the responses of your own with the same status;
//! - the header `Idempotent-Replayed` on each response of yours that may be replayed;
//! - the ttl, as the extension `x-idempotency-key-ttl` (a duration of ISO 8601).
//!
//! ```
//! use axum::http::StatusCode;
//! use idempotent_runtime::idempotent;
//! use utoipa::OpenApi;
//!
//! /// Makes a payment.
//! #[idempotent(ttl = "24h")]
//! #[utoipa::path(post, path = "/payments", responses((status = 201, description = "Paid")))]
//! async fn create_payment() -> StatusCode {
//!     StatusCode::CREATED
//! }
//!
//! #[derive(OpenApi)]
//! #[openapi(paths(create_payment))]
//! struct Api;
//!
//! let document = serde_json::to_value(Api::openapi()).unwrap();
//! let operation = &document["paths"]["/payments"]["post"];
//! assert_eq!(operation["parameters"][0]["name"], "Idempotency-Key");
//! assert_eq!(operation["x-idempotency-key-ttl"], "PT24H");
//! assert!(operation["responses"]["409"]["content"]["application/problem+json"].is_object());
//! ```
//!
//! What the builder of the service has set (another header, another base for problems, an error format of its own) is not
//! known to a handler. [`Idempotency`](crate::Idempotency) is a `utoipa::Modify` that puts it into a finished document:
//!
//! ```
//! use idempotent_runtime::{Idempotency, MemoryStore};
//! use utoipa::{Modify, OpenApi};
//!
//! #[derive(OpenApi)]
//! #[openapi(paths())]
//! struct Api;
//!
//! let idempotency = Idempotency::builder(MemoryStore::new()).header("X-Request-Key").build();
//! let mut document = Api::openapi();
//! idempotency.modify(&mut document);
//! ```
//!
//! A `utoipa::path` **above** `#[idempotent]` has run before the attribute is seen, and describes what is written in it
//! alone. There, name the types [`KeyHeader`] and [`Problems`] yourself:
//!
//! ```
//! use axum::http::StatusCode;
//! use idempotent_runtime::{idempotent, openapi};
//!
//! #[utoipa::path(
//!     post,
//!     path = "/payments",
//!     params(openapi::KeyHeader),
//!     responses((status = 201, description = "Paid", headers(("Idempotent-Replayed" = bool))), openapi::Problems),
//! )]
//! #[idempotent(ttl = "24h")]
//! async fn create_payment() -> StatusCode {
//!     StatusCode::CREATED
//! }
//! ```
//!
//! # `aide`
//!
//! With the feature `aide`, a protected handler goes into an `api_route` as it is. It gains the header parameter and the
//! problems. aide knows the types of a handler's arguments and not its options: a handler whose options say where its key is,
//! whether it is required or what a retry must equal gains the problems alone, and its return type and the ttl are not
//! described. Say these with `post_with(create_payment, |operation| operation.response::<201, Json<Payment>>())`.

#[cfg(feature = "aide")]
mod by_aide;
#[cfg(feature = "utoipa")]
mod by_utoipa;
// Each of the two needs a part of it.
#[cfg_attr(not(feature = "utoipa"), allow(dead_code))]
mod facts;
#[cfg(feature = "utoipa")]
mod of_service;

#[doc(hidden)]
#[cfg(feature = "utoipa")]
pub use by_utoipa::{Described, DescribedPolicy};
#[cfg(feature = "utoipa")]
pub use by_utoipa::{KeyHeader, Problems};
