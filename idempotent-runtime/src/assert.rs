//! What an expansion asserts, so that the compiler says in our words what is missing.
//!
//! Nothing here runs.

use core::fmt::Display;

use axum::extract::FromRef;

use crate::{Idempotency, request::Scope};

/// A router's state that an [`Idempotency`] can be taken from.
#[diagnostic::on_unimplemented(
    message = "the state `{Self}` offers no `Idempotency`",
    label = "an `Idempotency` cannot be taken from this state",
    note = "put an `Idempotency` into the state and write `impl FromRef<{Self}> for Idempotency`, or derive `FromRef` for the state",
    note = "if the router has another state, name it: `#[debug_handler(state = …)]`"
)]
pub trait OffersIdempotency {}

// The bound that failed is ours, not the one behind it: it has the words above.
#[diagnostic::do_not_recommend]
impl<S> OffersIdempotency for S where Idempotency: FromRef<S> {}

/// Fails to compile where the router's state has no store.
pub const fn assert_state_offers_idempotency<S: OffersIdempotency>() {}

/// A value that says whose key it is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a scope, for it is no `Display`",
    label = "a scope is written into the key",
    note = "name a part that can be displayed, as in `scope = user.id`, or write `scope = format!(\"…\")`"
)]
pub trait ScopeValue: Display {}

#[diagnostic::do_not_recommend]
impl<D: Display + ?Sized> ScopeValue for D {}

/// Says whose key it is, by anything that can be displayed.
pub fn scope<D: ScopeValue + ?Sized>(value: &D) -> Scope {
    Scope::of(value)
}
