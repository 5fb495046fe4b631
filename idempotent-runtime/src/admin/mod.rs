//! For operators: look up a request, forget it, and pages for both.

#[cfg(feature = "admin")]
mod answer;
#[cfg(feature = "admin")]
mod find;
#[cfg(feature = "admin")]
mod in_flight;
mod inspect;
#[cfg(feature = "admin")]
mod page;
#[cfg(feature = "admin")]
mod query;
#[cfg(feature = "admin")]
mod router;

pub use self::inspect::{Inspection, RequestName};
#[cfg(feature = "admin")]
pub use self::router::AdminRouter;
