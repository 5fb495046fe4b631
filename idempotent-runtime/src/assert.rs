//! What an expansion asserts, so that the compiler says in our words what is missing.
//!
//! Nothing here runs.

use core::fmt::Display;

use axum::extract::FromRef;

use serde::Serialize;

use crate::{
    Idempotency,
    request::{Scope, ValueDigest},
};

/// A router's state that an [`Idempotency`] can be taken from.
#[diagnostic::on_unimplemented(
    message = "the state `{Self}` offers no `Idempotency`",
    label = "an `Idempotency` cannot be taken from this state",
    note = "give the struct that is the state a field of type `Idempotency`, and derive `FromRef` for that struct (not for an `Arc` of it: that follows)",
    note = "if the state is not yours, write `#[idempotent(store = extension)]` and add `.layer(idempotency.layer())` to the router"
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

/// A value that is the key: what can be displayed, or an option of it.
///
/// `M` tells the impls apart: the compiler finds the one that fits.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key, for it is neither `Display` nor an `Option` of what is",
    label = "a key is a text",
    note = "name a part that can be displayed, as in `key = event.id`, or write `key = format!(\"…\")`"
)]
pub trait KeyValue<M> {
    /// The text; none is a missing key.
    fn text(&self) -> Option<String>;
}

/// Marks the impl for what can be displayed.
#[derive(Debug)]
pub enum Displayed {}

/// Marks the impls for options.
#[derive(Debug)]
pub enum Optional {}

#[diagnostic::do_not_recommend]
impl<D: Display + ?Sized> KeyValue<Displayed> for D {
    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

#[diagnostic::do_not_recommend]
impl<D: Display> KeyValue<Optional> for Option<D> {
    fn text(&self) -> Option<String> {
        self.as_ref().map(ToString::to_string)
    }
}

#[diagnostic::do_not_recommend]
impl<D: Display> KeyValue<Optional> for &Option<D> {
    fn text(&self) -> Option<String> {
        self.as_ref().map(ToString::to_string)
    }
}

/// The key, by the value of `key = EXPR`.
pub fn key<M, K: KeyValue<M> + ?Sized>(value: &K) -> Option<String> {
    value.text()
}

/// A value that a retry must equal.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a fingerprint, for it is no `Serialize`",
    label = "a fingerprint is a hash of the value as JSON",
    note = "derive `serde::Serialize` for the type, or name the parts that count, as in `fingerprint = (order.id, &order.items)`"
)]
pub trait FingerprintValue: Serialize {}

#[diagnostic::do_not_recommend]
impl<V: Serialize + ?Sized> FingerprintValue for V {}

/// What a retry must equal, by the value of `fingerprint = EXPR`.
pub fn fingerprint<V: FingerprintValue + ?Sized>(value: &V) -> Option<ValueDigest> {
    match ValueDigest::of(value) {
        Ok(digest) => Some(digest),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the value of `fingerprint` cannot be hashed");
            None
        }
    }
}
