//! Bounds that the expansion asserts. If one is missing, the compiler prints the message that is written here.
//!
//! Nothing in this file has an effect while requests are served, except turning the options' values into text and
//! hashes.

use core::fmt::Display;

use axum::extract::FromRef;

use serde::Serialize;

use crate::{
    Idempotency,
    http::request::{Scope, ValueDigest},
    telemetry::limited,
};

/// A router's state that can provide an [`Idempotency`].
#[diagnostic::on_unimplemented(
    message = "the state `{Self}` offers no `Idempotency`",
    label = "an `Idempotency` cannot be taken from this state",
    note = "add a field of type `Idempotency` to the struct that is the router's state, and derive `FromRef` for that struct; an `Arc` of it then works as well",
    note = "if the state is not yours, write `#[idempotent(store = extension)]` and add `.layer(idempotency.layer())` to the router"
)]
pub trait OffersIdempotency {}

// The compiler reports our trait as the bound that failed, and so prints the message above.
#[diagnostic::do_not_recommend]
impl<S> OffersIdempotency for S where Idempotency: FromRef<S> {}

/// Does not compile if the router's state provides no `Idempotency`.
pub const fn assert_state_offers_idempotency<S: OffersIdempotency>() {}

/// A value that may be a scope.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a scope, because it does not implement `Display`",
    label = "the scope becomes part of the key as text",
    note = "name a part that can be displayed, as in `scope = user.id`, or write `scope = format!(\"…\")`"
)]
pub trait ScopeValue: Display {}

#[diagnostic::do_not_recommend]
impl<D: Display + ?Sized> ScopeValue for D {}

/// Makes the scope from any value that can be displayed.
pub fn scope<D: ScopeValue + ?Sized>(value: &D) -> Scope {
    Scope::of(value)
}

/// A value that may be a key: a type that can be displayed, or an `Option` of one.
///
/// `M` keeps the impls apart. The compiler infers it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key, because it is neither `Display` nor an `Option` of a type that is",
    label = "a key is text",
    note = "name a part that can be displayed, as in `key = event.id`, or write `key = format!(\"…\")`"
)]
pub trait KeyValue<M> {
    /// The key as text. `None` counts as a missing key.
    fn text(&self) -> Option<String>;
}

/// Marks the impl for types that can be displayed.
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

/// The key, from the value of `key = EXPR`.
pub fn key<M, K: KeyValue<M> + ?Sized>(value: &K) -> Option<String> {
    value.text()
}

/// A value that may be a fingerprint.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a fingerprint, because it does not implement `Serialize`",
    label = "the fingerprint is a hash of this value as JSON",
    note = "derive `serde::Serialize` for the type, or name the parts that count, as in `fingerprint = (order.id, &order.items)`"
)]
pub trait FingerprintValue: Serialize {}

#[diagnostic::do_not_recommend]
impl<V: Serialize + ?Sized> FingerprintValue for V {}

/// The fingerprint, from the value of `fingerprint = EXPR`.
pub fn fingerprint<V: FingerprintValue + ?Sized>(value: &V) -> Option<ValueDigest> {
    match ValueDigest::of(value) {
        Ok(digest) => Some(digest),
        Err(error) => {
            limited!(error, error = &error as &dyn std::error::Error, "the value of `fingerprint` cannot be hashed");
            None
        }
    }
}
