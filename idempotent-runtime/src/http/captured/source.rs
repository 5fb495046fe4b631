//! Where a protected handler gets its [`Idempotency`] from. It is a type parameter of the extractor, so a missing state
//! is a compile error.

use std::sync::{Arc, LazyLock, Once};

use axum::{
    Extension,
    extract::{FromRef, Request},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{idempotency::Idempotency, telemetry::limited};

/// A place where an extractor finds an [`Idempotency`].
pub trait Source: 'static {
    /// What is found when the extractors run.
    type Found: Send + 'static;
}

/// A [`Source`] that works in a router with the state `S`.
pub trait FindIn<S>: Source {
    /// # Errors
    /// A 500 without a text, if the service's set-up is not complete. The log says what is missing.
    #[expect(clippy::result_large_err, reason = "it is a response, and rare")]
    fn find(request: &Request, state: &S) -> Result<Self::Found, Response>;
}

/// The router's state. This is the default.
///
/// The compiler prints this name when a state provides no [`Idempotency`], so the name says what is needed.
#[derive(Debug)]
pub enum GiveTheStateAnIdempotencyAndDeriveFromRef {}

impl Source for GiveTheStateAnIdempotencyAndDeriveFromRef {
    type Found = Idempotency;
}

impl<S> FindIn<S> for GiveTheStateAnIdempotencyAndDeriveFromRef
where
    Idempotency: FromRef<S>,
{
    fn find(_: &Request, state: &S) -> Result<Idempotency, Response> {
        Ok(Idempotency::from_ref(state))
    }
}

/// The request's extensions: `store = extension`.
#[derive(Debug)]
pub enum FromExtension {}

impl Source for FromExtension {
    type Found = Idempotency;
}

impl<S> FindIn<S> for FromExtension {
    fn find(request: &Request, _: &S) -> Result<Idempotency, Response> {
        request.extensions().get::<Idempotency>().cloned().ok_or_else(layer_missing)
    }
}

/// An expression of the user: `store = EXPR`. The wrapper evaluates it after the extractors have run.
#[derive(Debug)]
pub enum FromExpression {}

impl Source for FromExpression {
    type Found = ();
}

impl<S> FindIn<S> for FromExpression {
    fn find(_: &Request, _: &S) -> Result<(), Response> {
        Ok(())
    }
}

/// The client cannot mend the set-up, so the response has no text. What to add is in the log.
fn layer_missing() -> Response {
    static LOGGED: Once = Once::new();
    LOGGED.call_once(|| {
        limited!(LAYER_MISSING);
    });
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// A type that `store = EXPR` may have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an `Idempotency`",
    label = "`store` takes an `Idempotency` or a reference to one",
    note = "write an expression such as a static: `static IDEMPOTENCY: LazyLock<Idempotency> = …;` and `store = IDEMPOTENCY`",
    note = "or write `store = extension` and add `.layer(idempotency.layer())` to the router"
)]
pub trait StoreValue {
    /// A clone of the handle. Clones share everything.
    fn idempotency(&self) -> Idempotency;
}

impl StoreValue for Idempotency {
    fn idempotency(&self) -> Idempotency {
        self.clone()
    }
}

impl StoreValue for Extension<Idempotency> {
    fn idempotency(&self) -> Idempotency {
        self.0.clone()
    }
}

#[diagnostic::do_not_recommend]
impl<V: StoreValue + ?Sized> StoreValue for &V {
    fn idempotency(&self) -> Idempotency {
        V::idempotency(self)
    }
}

#[diagnostic::do_not_recommend]
impl<V: StoreValue + ?Sized> StoreValue for Arc<V> {
    fn idempotency(&self) -> Idempotency {
        V::idempotency(self)
    }
}

#[diagnostic::do_not_recommend]
impl<V: StoreValue> StoreValue for LazyLock<V> {
    fn idempotency(&self) -> Idempotency {
        V::idempotency(self)
    }
}
