//! [`Deferred`]: runs the handler's last extractor later, for handlers whose options decide how the request is read.
//!
//! An extractor is a type, so it cannot know an option's value: another key header, an expression for the key or the
//! fingerprint, or an expression for the store. The wrapper knows them. So the last extractor runs when the wrapper has
//! passed them on. That is still after all other extractors and before the handler.

use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};

use crate::{
    config::policy::Policy,
    http::{
        captured::{
            Captured, Via, extract,
            source::{FindIn, FromExpression, GiveTheStateAnIdempotencyAndDeriveFromRef, Source, StoreValue},
        },
        protect::Protected,
        request::Expected,
    },
    idempotency::Idempotency,
};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The last extractor, with the state that it needs.
type Extract<T> = Box<dyn FnOnce(Request) -> BoxFuture<Result<T, Response>> + Send>;

/// A request whose last extractor has not run yet.
pub struct Deferred<T, P: Source = GiveTheStateAnIdempotencyAndDeriveFromRef> {
    request: Request,
    found: P::Found,
    extract: Extract<T>,
}

impl<S, T, P, M> FromRequest<S, Via<P, M>> for Deferred<T, P>
where
    S: Clone + Send + Sync + 'static,
    T: FromRequest<S, M> + 'static,
    P: FindIn<S>,
    M: 'static,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let found = P::find(&request, state)?;
        let state = state.clone();
        let extract: Extract<T> = Box::new(move |request| {
            Box::pin(async move { T::from_request(request, &state).await.map_err(IntoResponse::into_response) })
        });
        Ok(Self { request, found, extract })
    }
}

impl<T> Deferred<T, FromExpression> {
    /// Sets the store that `store = EXPR` names.
    pub fn with_store<V: StoreValue + ?Sized>(self, store: &V) -> Deferred<T> {
        Deferred { request: self.request, found: store.idempotency(), extract: self.extract }
    }
}

impl<T, P: Source<Found = Idempotency>> Deferred<T, P> {
    /// Reads the request as `policy` says, runs the last extractor, and passes the result to `protect`.
    pub fn read<G, F>(self, policy: &'static Policy, protect: G) -> ProtectedLater<T, G>
    where
        G: FnOnce(Captured<T>) -> Protected<F>,
    {
        let Self { request, found, extract } = self;
        ProtectedLater(Stage::Ready(Box::new(Unread { request, idempotency: found, extract, policy }), protect))
    }
}

struct Unread<T> {
    request: Request,
    idempotency: Idempotency,
    extract: Extract<T>,
    policy: &'static Policy,
}

impl<T: Send> Unread<T> {
    async fn read(self) -> Result<Captured<T>, Response> {
        extract(self.request, Ok(self.idempotency), &Expected::from_policy(self.policy), self.extract).await
    }
}

/// The call of a handler whose last argument is still to be extracted.
///
/// As with [`Protected`], all bounds are on the `Future` impl.
#[must_use = "a handler does nothing until it is awaited"]
pub struct ProtectedLater<T, G>(Stage<T, G>);

enum Stage<T, G> {
    Ready(Box<Unread<T>>, G),
    Running(BoxFuture<Response>),
    /// A placeholder while the stage changes.
    Moved(PhantomData<T>),
}

/// Makes the call of the handler from the captured request.
pub trait Protect<T>: Sized {
    /// The handler's future.
    type Handler: Future<Output = Response>;

    /// Evaluates the expressions of the options and calls the handler.
    fn protect(self, captured: Captured<T>) -> Protected<Self::Handler>;
}

impl<T, G, F> Protect<T> for G
where
    G: FnOnce(Captured<T>) -> Protected<F>,
    F: Future<Output = Response>,
{
    type Handler = F;

    fn protect(self, captured: Captured<T>) -> Protected<F> {
        self(captured)
    }
}

// No field is pinned in place.
impl<T, G> Unpin for ProtectedLater<T, G> {}

impl<T, G> Future for ProtectedLater<T, G>
where
    T: Send + 'static,
    G: Protect<T> + Send + 'static,
    G::Handler: Send + 'static,
{
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        if let Stage::Ready(..) = self.0
            && let Stage::Ready(unread, protect) = std::mem::replace(&mut self.0, Stage::Moved(PhantomData))
        {
            self.0 = Stage::Running(Box::pin(async move {
                match unread.read().await {
                    Ok(captured) => protect.protect(captured).await,
                    Err(rejection) => rejection,
                }
            }));
        }
        match &mut self.0 {
            Stage::Running(running) => running.as_mut().poll(context),
            Stage::Ready(..) | Stage::Moved(_) => Poll::Pending,
        }
    }
}
