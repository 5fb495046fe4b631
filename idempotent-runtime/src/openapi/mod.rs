//! What a protected handler adds to an OpenAPI document.
//!
//! # `utoipa`
//!
//! With the feature `utoipa`, a `utoipa::path` **below** `#[idempotent]` gets these additions by itself:
//!
//! - the header parameter: its name, whether it is required, its format and its greatest length;
//! - each problem that the handler may answer with, as `application/problem+json` with a schema and an example of each
//!   kind, in addition to your own responses with the same status;
//! - the header `Idempotent-Replayed` on each of your responses that may be replayed;
//! - the ttl, as the extension `x-idempotency-key-ttl` (an ISO 8601 duration);
//! - what the attribute leaves to the service's builder, as the extension `x-idempotency-set-by-service`: a list of
//!   `header`, `takeover` and `ttl`.
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
//! A handler does not know the settings of the service's builder (another header, other defaults for ttl and takeover,
//! another base for problems, its own error format). [`Idempotency`](crate::Idempotency) is a `utoipa::Modify` that adds
//! them to a finished document:
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
//! A `utoipa::path` **above** `#[idempotent]` runs before the attribute, so it describes only what is written in it.
//! Name the types [`KeyHeader`] and [`Problems`] there yourself:
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
//! With the feature `aide`, a protected handler can be used in an `api_route`. The header parameter and the problems
//! are added. aide knows the types of a handler's arguments and not the attribute's options. If the options say where
//! the key is, whether it is required, or what must be the same in a retry, only the problems are added. The return
//! type and the ttl are not described. Add these with `post_with(create_payment, |operation| operation.response::<201,
//! Json<Payment>>())`.

#[cfg(feature = "aide")]
mod by_aide;
#[cfg(feature = "utoipa")]
mod by_utoipa;
// Each of the two features uses only a part of it.
#[cfg_attr(not(feature = "utoipa"), allow(dead_code))]
mod facts;

#[doc(hidden)]
#[cfg(feature = "utoipa")]
pub use by_utoipa::{Described, DescribedPolicy};
#[cfg(feature = "utoipa")]
pub use by_utoipa::{KeyHeader, Problems};
