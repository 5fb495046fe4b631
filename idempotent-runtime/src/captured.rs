//! [`Captured`]: the handler's last extractor, with the request that it came from.

use std::{future::Future, marker::PhantomData, pin::Pin};

use axum::{
    RequestExt,
    extract::{FromRef, FromRequest, MatchedPath, OriginalUri, Request},
    http::HeaderValue,
    response::{IntoResponse, Response},
};

use crate::{
    body::{self, Found},
    config::{policy::Policy, settings::Settings},
    engine::{self, CapturedRequest, Handler, page::ClaimCell},
    idempotency::Idempotency,
    request::{CapturedBody, KeyedRequest, RequestKind, Scope},
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
        let handler: Handler = Box::new(move || Box::pin(async move { run(last).await.into_response() }));
        Box::pin(engine::protect(request, policy, handler))
    }
}

/// Keeps [`Captured`]'s impl apart from axum's blanket one for `FromRequestParts`.
#[derive(Debug)]
pub struct Via<M>(PhantomData<M>);

impl<S, T, M> FromRequest<S, Via<M>> for Captured<T>
where
    S: Send + Sync,
    T: FromRequest<S, M>,
    M: 'static,
    Idempotency: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Response> {
        let idempotency = Idempotency::from_ref(state);
        let slot = ClaimCell::of(request.extensions_mut());
        let (seen, request) = inspect(request, idempotency.settings()).await;
        let last = T::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        Ok(Self { last, request: CapturedRequest { engine: idempotency.engine().clone(), slot, scope: None, seen } })
    }
}

/// Looks at a request, and hands it back as the extractor would have found it.
async fn inspect(request: Request, settings: &Settings) -> (RequestKind, Request) {
    if settings.disabled || request.method().is_safe() {
        return (RequestKind::Exempt, request);
    }
    let key: Vec<HeaderValue> = request.headers().get_all(&settings.header).iter().cloned().collect();
    if key.is_empty() {
        return (RequestKind::WithoutKey, request);
    }
    let credentials = settings.credentials.iter().flat_map(|name| {
        let lines = request.headers().get_all(name);
        lines.iter().map(|line| (name.clone(), line.clone()))
    });
    let credentials = credentials.collect();
    // axum's own limit, as `Bytes` and `Json` have it; the extractor meets it again and rejects in its own words.
    let (parts, limited) = request.with_limited_body().into_parts();
    let reading = body::read(limited, settings.max_request, None).await;
    let keyed = KeyedRequest {
        key,
        method: parts.method.clone(),
        matched: parts.extensions.get::<MatchedPath>().cloned(),
        uri: parts.extensions.get::<OriginalUri>().map_or_else(|| parts.uri.clone(), |original| original.0.clone()),
        credentials,
        body: match reading.found {
            Found::Whole { bytes, .. } => CapturedBody::Whole(bytes),
            Found::Endless | Found::Broken { over_limit: true } => CapturedBody::TooLarge,
            Found::Broken { over_limit: false } => CapturedBody::Broken,
        },
    };
    (RequestKind::KeyedRequest(Box::new(keyed)), Request::from_parts(parts, reading.body))
}
