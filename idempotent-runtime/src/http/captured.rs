//! [`Captured`]: runs the handler's last extractor, and captures the parts of the request that the engine needs.

pub(crate) mod cell;
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

use self::source::{FindIn, GiveTheStateAnIdempotencyAndDeriveFromRef, Source};
use crate::{
    byte_budget::ReservedBytes,
    config::policy::Policy,
    engine::{Admission, Engine},
    http::{
        protect::{CapturedRequest, Protected, refuse},
        request::{
            Expected, Refusal, RequestKind, Scope, ValueDigest, inspect,
            reading::{self, Limits, Recording},
        },
    },
    idempotency::Idempotency,
};

/// The value of the last extractor, and what the engine must know of the request. It is captured before the extractor
/// consumes the request.
pub struct Captured<T, P = GiveTheStateAnIdempotencyAndDeriveFromRef> {
    last: T,
    request: CapturedRequest,
    source: PhantomData<P>,
}

impl<T, P> Captured<T, P> {
    pub(crate) fn new(last: T, request: CapturedRequest) -> Self {
        Self { last, request, source: PhantomData }
    }

    /// The last argument. The expressions of the options may name it.
    pub fn last(&self) -> &T {
        &self.last
    }

    /// Sets the scope: the value that tells callers with the same key apart.
    #[must_use]
    pub fn scoped(mut self, scope: Scope) -> Self {
        self.request.scope = Some(scope);
        self
    }

    /// Sets the key, where it is the value of an expression. `None` and an empty text count as a missing key.
    #[must_use]
    pub fn keyed(mut self, value: Option<String>) -> Self {
        self.request.kind.set_key(value);
        self
    }

    /// Sets the fingerprint, where it is the value of an expression. `None` if the value could not be hashed.
    #[must_use]
    pub fn fingerprinted(mut self, value: Option<ValueDigest>) -> Self {
        self.request.kind.set_value(value);
        self
    }

    /// The protected call of the handler. When it is polled, the key is claimed and the handler runs, or a stored
    /// response or a problem is returned.
    pub fn protect<F, Fut>(self, policy: &'static Policy, run: F) -> Protected<impl Future<Output = Response>>
    where
        F: FnOnce(T) -> Fut,
        Fut: Future,
        Fut::Output: IntoResponse,
    {
        let Self { last, request, .. } = self;
        let handler = run(last);
        Protected::new(request, policy, AsResponse { handler })
    }
}

pin_project_lite::pin_project! {
    /// Makes a response of what the handler returns. It is compiled once for each handler, and an `async` block would take
    /// longer.
    struct AsResponse<F> {
        #[pin]
        handler: F,
    }
}

impl<F> Future for AsResponse<F>
where
    F: Future,
    F::Output: IntoResponse,
{
    type Output = Response;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        self.project().handler.poll(context).map(IntoResponse::into_response)
    }
}

/// Keeps the impls of our extractors apart from axum's blanket impl for `FromRequestParts`.
///
/// It contains the name of the source, because the compiler prints this type when a state provides no `Idempotency`.
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

/// Inspects a request, runs the last extractor, and then reads the rest of the body.
///
/// The key is checked first, then the limits for requests in flight, and only then the body is read. So a request
/// without a key costs no reading of its body. If the extractor rejects the request, no more is read than the extractor
/// has read.
///
/// This is a plain function, because the future of an `async fn` would hold the request several times. The extractor's
/// future is in its own box: axum allocates everything else as one future, and glibc takes several times as long for
/// more than 1,032 bytes.
pub(crate) fn extract<T, P, R, F>(
    request: Request,
    found: Result<Idempotency, Response>,
    expected: &Expected,
    extractor: impl FnOnce(Request) -> F + Send,
) -> impl Future<Output = Result<Captured<T, P>, Response>> + Send
where
    T: Send,
    R: IntoResponse,
    F: Future<Output = Result<T, R>> + Send,
{
    #[expect(clippy::result_large_err, reason = "it is a handler's answer, and rare")]
    let examined = found.and_then(|idempotency| examine(request, idempotency.into_engine(), expected));
    let extracting = examined.map(|(request, captured, recording)| (Box::pin(extractor(request)), captured, recording));
    async move {
        let (extracting, mut captured, recording) = extracting?;
        let last = match extracting.await {
            Ok(last) => last,
            Err(rejection) => {
                let refusal = recording.as_ref().and_then(Recording::refusal);
                return Err(refusal.map_or_else(|| rejection.into_response(), |it| refuse(&captured.engine, &it)));
            }
        };
        let Some(recording) = recording else { return Ok(Captured::new(last, captured)) };
        match recording.finish().await {
            Ok((body, share)) => captured.was_read(body, share),
            Err(refusal) => return Err(refuse(&captured.engine, &refusal)),
        }
        Ok(Captured::new(last, captured))
    }
}

/// Examines the head of a request, which it returns. If its body is compared, also replaces the body by a recorder.
#[expect(clippy::result_large_err, reason = "it is the request's answer, and rare")]
fn examine(
    mut request: Request,
    engine: Arc<Engine>,
    expected: &Expected,
) -> Result<(Request, CapturedRequest, Option<Recording>), Response> {
    let cell = cell::cell_of(request.extensions_mut());
    let refused = |refusal: Refusal| refuse(&engine, &refusal);
    let kind = inspect(&mut request, &engine.settings, expected).map_err(refused)?;
    let (mut admission, mut recording) = (None, None);
    if let RequestKind::Keyed(_) = kind {
        let counts = expected.body && !request.body().is_end_stream();
        let announced = if counts { request.body().size_hint().lower() } else { 0 };
        let admission = admission.insert(Admission::ask(&engine, announced).map_err(|not| refused(not.into()))?);
        if counts {
            let recorded = record_body(request, engine.settings.max_request, admission.take_share());
            (request, recording) = (recorded.0, Some(recorded.1));
        }
    }
    Ok((request, CapturedRequest { engine, cell, scope: None, kind, admission }, recording))
}

/// Replaces the request's body by a recorder that hashes what is read.
fn record_body(mut request: Request, max_request: usize, share: ReservedBytes) -> (Request, Recording) {
    // axum's own body limit is private. It can be seen from outside: a body of unknown length reports it as its upper
    // bound.
    let body = std::mem::replace(request.body_mut(), Body::new(OfUnknownLength));
    let (parts, limited) = request.with_limited_body().into_parts();
    let compared = max_request as u64;
    let unread = limited.size_hint().upper().map_or(compared, |limit| limit.min(compared));
    let (recording, tee) = reading::record_body(body, Limits { compared, unread }, share);
    (Request::from_parts(parts, Body::new(tee)), recording)
}

/// An empty body that does not state its length.
struct OfUnknownLength;

impl HttpBody for OfUnknownLength {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}
