//! Bounds that the expansion asserts. If one is missing, the compiler prints the message that is written here.
//!
//! Nothing in this file has an effect while requests are served, except turning the options' values into text and
//! hashes.

use core::{fmt::Display, marker::PhantomData};

use axum::extract::{FromRef, FromRequest, FromRequestParts};

use serde::Serialize;

use crate::{
    http::request::{Scope, ValueDigest},
    idempotency::Idempotency,
    telemetry::limited,
};

/// A router's state that can provide an [`Idempotency`].
#[diagnostic::on_unimplemented(
    message = "the state `{Self}` offers no `Idempotency`",
    label = "an `Idempotency` cannot be taken from this state",
    note = "add a field of type `Idempotency` to the struct that is the router's state, and derive `FromRef` for that struct; an `Arc` of it then works as well",
    note = "if this is only a part of the router's state, name that state: `#[debug_handler(state = App)]`",
    note = "if the state is not yours, write `#[idempotent(store = extension)]` and add `.layer(idempotency.layer())` to the router"
)]
pub trait OffersIdempotency {}

// The compiler reports our trait as the bound that failed, and so prints the message above.
#[diagnostic::do_not_recommend]
impl<S> OffersIdempotency for S where Idempotency: FromRef<S> {}

/// Does not compile if the router's state provides no `Idempotency`.
pub const fn assert_state_offers_idempotency<S: OffersIdempotency>() {}

/// The type of an argument, of which the expansion asks what it reads.
///
/// `(&&&Argument::<T>::NEW).kind()` calls the first of the three traits below that `T` fits.
#[derive(Debug)]
pub struct Argument<T>(PhantomData<T>);

impl<T> Argument<T> {
    /// The only value.
    pub const NEW: Self = Self(PhantomData);
}

/// An argument of which nothing speaks against a place before the last.
#[derive(Debug)]
pub enum AnyPlace {}

/// An argument that reads the body.
#[derive(Debug)]
pub enum LastPlace {}

/// An extractor that reads only the head of a request, in any router.
pub trait OfHead {
    /// Where the argument may be.
    fn kind(&self) -> PhantomData<AnyPlace> {
        PhantomData
    }
}

impl<T: FromRequestParts<()>> OfHead for &&Argument<T> {}

/// An extractor that reads the body, in any router.
pub trait OfBody {
    /// Where the argument may be.
    fn kind(&self) -> PhantomData<LastPlace> {
        PhantomData
    }
}

impl<T: FromRequest<()>> OfBody for &Argument<T> {}

/// A type that is neither, as far as is known.
pub trait OfNoKind {
    /// Where the argument may be.
    fn kind(&self) -> PhantomData<AnyPlace> {
        PhantomData
    }
}

impl<T> OfNoKind for Argument<T> {}

/// A place that the argument `T` may have.
#[diagnostic::on_unimplemented(
    message = "`{T}` reads the request's body, and only the last argument can do that; move it to the end",
    label = "this argument is not the last one"
)]
pub trait Permits<T> {}

impl<T> Permits<T> for AnyPlace {}

/// Does not compile if the argument reads the body.
pub const fn assert_reads_no_body<T, P: Permits<T>>(_: &Argument<T>, _: PhantomData<P>) {}

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
    Scope::new(value)
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
    label = "the fingerprint is a hash of this value",
    note = "derive `serde::Serialize` for the type, or name the parts that count, as in `fingerprint = (order.id, &order.items)`"
)]
pub trait FingerprintValue: Serialize {}

#[diagnostic::do_not_recommend]
impl<V: Serialize + ?Sized> FingerprintValue for V {}

/// The fingerprint, from the value of `fingerprint = EXPR`.
pub fn fingerprint<V: FingerprintValue + ?Sized>(value: &V) -> Option<ValueDigest> {
    match ValueDigest::new(value) {
        Ok(digest) => Some(digest),
        Err(error) => {
            limited!(FINGERPRINT, error = &error as &dyn std::error::Error);
            None
        }
    }
}

/// Stands for an attribute that is not above `#[idempotent]`.
#[derive(Debug)]
pub struct NothingAbove;

impl NothingAbove {
    /// There is nothing to warn of.
    pub const fn debug_handler<S>(self) {}

    /// There is nothing to warn of.
    pub const fn utoipa_path(self) {}
}

/// The function that a `#[debug_handler]` above the attribute leaves.
pub trait DebugHandlerAbove: Sized {
    /// Warns, and does not compile if the state offers no `Idempotency`.
    #[deprecated(note = "`#[debug_handler]` is above `#[idempotent]`, so it does not see the handler; move it below")]
    fn debug_handler<S: OffersIdempotency>(self) {}
}

impl<F: Fn()> DebugHandlerAbove for F {}

/// The type that a `#[utoipa::path]` above the attribute leaves.
pub trait UtoipaPathAbove: Sized {
    /// Warns.
    #[deprecated(note = "the document shows neither the key's header nor the problems of this handler; write \
                         `#[utoipa::path]` below `#[idempotent]`, and turn on the feature `utoipa` of `idempotent-runtime`")]
    fn utoipa_path(self) {}
}

impl<T> UtoipaPathAbove for T {}
