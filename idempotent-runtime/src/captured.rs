//! [`Captured`]: the handler's last extractor, with the request that it came from.

use std::{
    convert::Infallible,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    RequestExt,
    body::{Body, HttpBody},
    extract::{FromRef, FromRequest, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::Frame;

use crate::{
    config::policy::Policy,
    engine::{self, Admission, CapturedRequest, ClaimCell, Engine, Handler},
    idempotency::Idempotency,
    request::{
        Refusal, RequestKind, Scope, inspect,
        reading::{self, Limits, Recording},
        room::Held,
    },
};

/// The last extractor's value and what the engine has to know of the request, taken before the extractor could consume
/// or the handler change it.
pub struct Captured<T> {
    last: T,
    request: CapturedRequest,
}

impl<T: Send + 'static> Captured<T> {
    /// The last argument, so that `scope` can name it.
    pub fn last(&self) -> &T {
        &self.last
    }

    /// Says whose key it is.
    #[must_use]
    pub fn scoped(mut self, scope: Scope) -> Self {
        self.request.scope = Some(scope);
        self
    }

    /// Runs the handler under a claim, or answers in its place.
    ///
    /// A plain function that returns a boxed future, so that a failed bound is reported once, and so that all that
    /// follows is compiled once and not for every handler.
    pub fn protect<F, Fut>(
        self,
        policy: &'static Policy,
        run: F,
    ) -> Pin<Box<dyn Future<Output = Response> + Send + 'static>>
    where
        F: FnOnce(T) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: IntoResponse,
    {
        let Self { last, request } = self;
        let handler: Handler = Box::pin(async move { run(last).await.into_response() });
        Box::pin(engine::protect(request, policy, handler))
    }
}

/// Keeps [`Captured`]'s impl apart from axum's blanket one for `FromRequestParts`.
#[derive(Debug)]
pub struct Via<M>(PhantomData<M>);

impl<S, T, M> FromRequest<S, Via<M>> for Captured<T>
where
    S: Send + Sync,
    T: FromRequest<S, M> + Send,
    M: 'static,
    Idempotency: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let idempotency = Idempotency::from_ref(state);
        let extracted = extract(request, idempotency.engine(), None, |request| T::from_request(request, state));
        let (last, request) = extracted.await?;
        Ok(Self { last, request })
    }
}

/// Looks at a request, runs the last extractor, and reads what that left of the body.
///
/// The order: the key, then whether there is room, and only then the body; so neither a request without a key nor one that
/// the extractor rejects is read any further than the extractor itself reads it.
async fn extract<T, R, F>(
    mut request: Request,
    engine: &Arc<Engine>,
    required: Option<bool>,
    extractor: impl FnOnce(Request) -> F,
) -> Result<(T, CapturedRequest), Response>
where
    T: Send,
    R: IntoResponse,
    F: Future<Output = Result<T, R>> + Send,
{
    let cell = ClaimCell::of(request.extensions_mut());
    let refused = |refusal| engine::refuse(engine, refusal);
    let captured = |kind, admission| CapturedRequest { engine: engine.clone(), cell, scope: None, kind, admission };
    let kind = inspect(&request, &engine.settings, required).map_err(refused)?;
    let RequestKind::Keyed(mut keyed) = kind else {
        let last = extractor(request).await.map_err(IntoResponse::into_response)?;
        return Ok((last, captured(kind, None)));
    };
    let announced = request.body().size_hint().lower();
    let mut admission = Admission::ask(engine, announced).map_err(refused)?;
    if request.body().is_end_stream() {
        let last = extractor(request).await.map_err(IntoResponse::into_response)?;
        return Ok((last, captured(RequestKind::Keyed(keyed), Some(admission))));
    }
    let (recording, request) = tee(request, engine.settings.max_request, admission.take_share());
    let last = match extractor(request).await {
        Ok(last) => last,
        Err(_) if recording.lacked_room() => return Err(refused(Refusal::NoRoom)),
        Err(rejection) => return Err(rejection.into_response()),
    };
    let (body, share) = recording.finish().await.map_err(refused)?;
    keyed.with_body(body);
    admission.return_share(share);
    Ok((last, captured(RequestKind::Keyed(keyed), Some(admission))))
}

/// Puts a recorder into the place of the request's body.
fn tee(request: Request, max_request: usize, share: Held) -> (Recording, Request) {
    // axum's own limit is private. It shows in what a body of unknown length may come to.
    let mut body = Body::empty();
    let request = request.map(|original| {
        body = original;
        Body::new(OfUnknownLength)
    });
    let (parts, limited) = request.with_limited_body().into_parts();
    let compared = max_request as u64;
    let unread = limited.size_hint().upper().map_or(compared, |limit| limit.min(compared));
    let (recording, tee) = reading::record(body, Limits { compared, unread }, share);
    (recording, Request::from_parts(parts, Body::new(tee)))
}

/// Says nothing of its length.
struct OfUnknownLength;

impl HttpBody for OfUnknownLength {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}
