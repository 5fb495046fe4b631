//! Where a protected handler's [`Idempotency`] comes from: a type parameter of the extractor, so that nothing about it is
//! decided while requests are served.

use std::sync::{Arc, LazyLock, Once};

use axum::{
    Extension,
    extract::{FromRef, Request},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::idempotency::Idempotency;

/// A place from which an extractor gets an [`Idempotency`].
pub trait Source: 'static {
    /// What is known when the extractors run.
    type Found: Send + 'static;
}

/// A [`Source`] that can be asked in a router with the state `S`.
pub trait FindIn<S>: Source {
    /// # Errors
    /// The response that says what the service has forgotten.
    #[expect(clippy::result_large_err, reason = "it is a handler's answer, and rare")]
    fn find(request: &Request, state: &S) -> Result<Self::Found, Response>;
}

/// The router's state, the default.
///
/// The compiler shows this name when a state offers no [`Idempotency`], so the name says what is needed.
#[derive(Debug)]
pub enum StateOffersIdempotency {}

impl Source for StateOffersIdempotency {
    type Found = Idempotency;
}

impl<S> FindIn<S> for StateOffersIdempotency
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

/// An expression of the user's: `store = EXPR`. The wrapper evaluates it; the extractor knows nothing yet.
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

fn layer_missing() -> Response {
    static LOGGED: Once = Once::new();
    LOGGED.call_once(|| {
        tracing::error!(
            "a handler with `#[idempotent(store = extension)]` found no `Idempotency` in its request's extensions: add \
             `.layer(idempotency.layer())` to the router"
        );
    });
    let text = "The service is not set up: add `.layer(idempotency.layer())` to the router.";
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

/// What `store = EXPR` may be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Idempotency`",
    label = "`store` takes an `Idempotency` or a reference to one",
    note = "write an expression such as a static: `static IDEMPOTENCY: LazyLock<Idempotency> = …;` and `store = IDEMPOTENCY`",
    note = "or write `store = extension` and add `.layer(idempotency.layer())` to the router"
)]
pub trait StoreValue {
    /// The handle, cloned; clones share everything.
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
