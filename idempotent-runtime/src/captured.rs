//! [`Captured`]: the handler's last extractor, with the request that it came from.

pub(crate) mod protected;
pub(crate) mod source;

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
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::Frame;

use self::{
    protected::Protected,
    source::{FindIn, Source, StateOffersIdempotency},
};
use crate::{
    config::policy::Policy,
    engine::{self, Admission, CapturedRequest, ClaimCell, Engine},
    idempotency::Idempotency,
    request::{
        Expected, Refusal, RequestKind, Scope, ValueDigest, inspect,
        reading::{self, Limits, Recording},
        room::Held,
    },
};

/// The last extractor's value and what the engine has to know of the request, taken before the extractor could consume
/// or the handler change it.
pub struct Captured<T, P = StateOffersIdempotency> {
    last: T,
    request: CapturedRequest,
    source: PhantomData<P>,
}

impl<T, P> Captured<T, P> {
    pub(crate) fn new(last: T, request: CapturedRequest) -> Self {
        Self { last, request, source: PhantomData }
    }

    /// The last argument, so that an option's expression can name it.
    pub fn last(&self) -> &T {
        &self.last
    }

    /// Says whose key it is.
    #[must_use]
    pub fn scoped(mut self, scope: Scope) -> Self {
        self.request.scope = Some(scope);
        self
    }

    /// Gives the key, where it is the value of an expression. None, and an empty one, is a missing key.
    #[must_use]
    pub fn keyed(mut self, value: Option<String>) -> Self {
        self.request.kind.set_key(value);
        self
    }

    /// Gives what a retry must equal, where it is the value of an expression. None, and it could not be hashed.
    #[must_use]
    pub fn fingerprinted(mut self, value: Option<ValueDigest>) -> Self {
        self.request.kind.set_value(value);
        self
    }

    /// The handler's call, which runs under a claim when it is polled, or is answered for.
    pub fn protect<F, Fut>(self, policy: &'static Policy, run: F) -> Protected<impl Future<Output = Response>>
    where
        F: FnOnce(T) -> Fut,
        Fut: Future,
        Fut::Output: IntoResponse,
    {
        let Self { last, request, .. } = self;
        let handler = run(last);
        Protected::new(request, policy, async move { handler.await.into_response() })
    }
}

/// Keeps the impls of our extractors apart from axum's blanket one for `FromRequestParts`.
///
/// The compiler shows it, with the source's name in it, when a state offers no `Idempotency`.
#[derive(Debug)]
pub struct Via<P, M>(PhantomData<(P, M)>);

impl<S, T, P, M> FromRequest<S, Via<P, M>> for Captured<T, P>
where
    S: Send + Sync,
    T: FromRequest<S, M> + Send,
    P: FindIn<S> + Source<Found = Idempotency>,
    M: 'static,
{
    type Rejection = Response;

    fn from_request(request: Request, state: &S) -> impl Future<Output = Result<Self, Response>> + Send {
        let found = P::find(&request, state);
        extract(request, found, &Expected::DEFAULT, move |request| T::from_request(request, state))
    }
}

/// Looks at a request, runs the last extractor, and reads what that left of the body.
///
/// The order: the key, then whether there is room, and only then the body; so neither a request without a key nor one that
/// the extractor rejects is read any further than the extractor itself reads it.
///
/// A plain function, since an `async fn` would keep the request several times.
pub(crate) fn extract<T, P, R, F>(
    mut request: Request,
    found: Result<Idempotency, Response>,
    expected: &Expected,
    extractor: impl FnOnce(Request) -> F + Send,
) -> impl Future<Output = Result<Captured<T, P>, Response>> + Send
where
    T: Send,
    R: IntoResponse,
    F: Future<Output = Result<T, R>> + Send,
{
    let looked_at = found.and_then(|idempotency| look_at(&mut request, idempotency.engine(), expected));
    async move {
        let (mut captured, recording) = looked_at?;
        let last = match extractor(request).await {
            Ok(last) => last,
            Err(_) if recording.as_ref().is_some_and(Recording::lacked_room) => {
                return Err(engine::refuse(&captured.engine, &Refusal::NoRoom));
            }
            Err(rejection) => return Err(rejection.into_response()),
        };
        let Some(recording) = recording else { return Ok(Captured::new(last, captured)) };
        match recording.finish().await {
            Ok((body, share)) => captured.was_read(body, share),
            Err(refusal) => return Err(engine::refuse(&captured.engine, &refusal)),
        }
        Ok(Captured::new(last, captured))
    }
}

/// What the head of a request says, and a recorder in the place of its body if the body counts.
#[expect(clippy::result_large_err, reason = "it is the request's answer, and rare")]
fn look_at(
    request: &mut Request,
    engine: &Arc<Engine>,
    expected: &Expected,
) -> Result<(CapturedRequest, Option<Recording>), Response> {
    let cell = ClaimCell::of(request.extensions_mut());
    let refused = |refusal| engine::refuse(engine, &refusal);
    let kind = inspect(request, &engine.settings, expected).map_err(refused)?;
    let mut captured = CapturedRequest { engine: engine.clone(), cell, scope: None, kind, admission: None };
    if let RequestKind::Keyed(_) = captured.kind {
        let counts = expected.body && !request.body().is_end_stream();
        let announced = if counts { request.body().size_hint().lower() } else { 0 };
        let admission = captured.admission.insert(Admission::ask(engine, announced).map_err(refused)?);
        if counts {
            let recording = record(request, engine.settings.max_request, admission.take_share());
            return Ok((captured, Some(recording)));
        }
    }
    Ok((captured, None))
}

/// Puts a recorder into the place of the request's body.
fn record(request: &mut Request, max_request: usize, share: Held) -> Recording {
    let body = std::mem::replace(request.body_mut(), Body::new(OfUnknownLength));
    // axum's own limit is private. It shows in what a body of unknown length may come to.
    let (parts, limited) = std::mem::take(request).with_limited_body().into_parts();
    let compared = max_request as u64;
    let unread = limited.size_hint().upper().map_or(compared, |limit| limit.min(compared));
    let (recording, tee) = reading::record(body, Limits { compared, unread }, share);
    *request = Request::from_parts(parts, Body::new(tee));
    recording
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
