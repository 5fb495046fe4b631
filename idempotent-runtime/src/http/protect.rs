//! [`Protected`]: a call of a handler that has not begun. When it is polled, it gives the engine its request.

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tracing::Instrument as _;

use super::{
    answer::Answering,
    handler::{Handler, run},
    request::{
        Expected, Refusal, RequestKind, Scope,
        body_digest::BodyDigest,
        identify::{Identity, identify},
    },
};
use crate::{
    byte_budget::ReservedBytes,
    config::policy::{FingerprintOf, Policy},
    engine::{Admission, ClaimCell, Engine, Execution},
    problem::texts,
    telemetry::{self, RequestTelemetry, limited},
};

/// A request, with what the engine needs to claim its key.
pub(crate) struct CapturedRequest {
    pub(crate) engine: Arc<Engine>,
    /// Where the handler's `Claim` finds its attempt, if the handler has one.
    pub(crate) cell: Arc<ClaimCell>,
    pub(crate) scope: Option<Scope>,
    pub(crate) kind: RequestKind,
    /// Its place among the requests in flight, if it has a key.
    pub(crate) admission: Option<Admission>,
}

impl CapturedRequest {
    /// Takes what was learnt of the body, and the memory that it holds.
    pub(crate) fn was_read(&mut self, body: BodyDigest, share: ReservedBytes) {
        if let RequestKind::Keyed(keyed) = &mut self.kind {
            keyed.with_body(body);
        }
        if let Some(admission) = &mut self.admission {
            admission.return_share(share);
        }
    }
}

/// The future of a protected handler. When it is polled, the key is claimed and the handler runs.
///
/// The `Send` bound on `F` is on the `Future` impl and not on the constructor. So it is checked where a router takes
/// the handler, as axum does it. A generic handler therefore needs no bound that its author could not write.
#[must_use = "a handler does nothing until it is awaited"]
pub struct Protected<F>(State<F>);

enum State<F> {
    Ready(CapturedRequest, &'static Policy, F),
    Running(Handler),
    /// A placeholder while the state changes.
    Moved,
}

impl<F> Protected<F> {
    pub(crate) fn new(request: CapturedRequest, policy: &'static Policy, handler: F) -> Self {
        Self(State::Ready(request, policy, handler))
    }
}

// `F` is moved into a box before it is polled, so it is never pinned inside this type.
impl<F> Unpin for Protected<F> {}

impl<F> Future for Protected<F>
where
    F: Future<Output = Response> + Send + 'static,
{
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        if let State::Ready(..) = self.0
            && let State::Ready(request, policy, handler) = std::mem::replace(&mut self.0, State::Moved)
        {
            self.0 = State::Running(protect(request, policy, Box::pin(handler)));
        }
        match &mut self.0 {
            State::Running(running) => running.as_mut().poll(context),
            State::Ready(..) | State::Moved => Poll::Pending,
        }
    }
}

/// Answers a request: with the handler's response, a stored response, or a problem.
///
/// A plain function, since an `async fn` would keep a second copy of what it moves into its parts.
fn protect(request: CapturedRequest, policy: &'static Policy, handler: Handler) -> Handler {
    let CapturedRequest { engine, cell, scope, kind, admission } = request;
    if let Some(operation) = policy.operation
        && let Some(first) = engine.operations.other_user(operation, policy.handler)
    {
        let second = policy.handler;
        limited!(OPERATION_TWICE, operation, first, second);
        return Box::pin(ready(StatusCode::INTERNAL_SERVER_ERROR.into_response()));
    }
    let refused = match (kind, admission) {
        (RequestKind::Keyed(mut keyed), Some(admission)) => {
            let telemetry = RequestTelemetry::new(engine.metrics.handler(policy.handler), keyed.take_trace());
            let span = telemetry.span().clone();
            if scope.is_none() && policy.fingerprint != FingerprintOf::KeyAlone && keyed.is_anonymous() {
                telemetry::anonymous(policy.handler);
            }
            let Identity { key, name, fingerprint, scoped } = identify(&engine.settings, policy, keyed, scope.as_ref());
            let terms = policy.terms(&engine.settings.terms);
            let (shared, lease) = (Arc::clone(&engine), terms.lease);
            let answering = Answering { engine: shared, telemetry: telemetry.clone(), scoped, lease };
            let execution = Box::new(Execution {
                request: engine.request(policy.handler, key.into_parts(), name, fingerprint, terms),
                work: move |active| run(active, handler, policy),
                engine,
                cell,
                admission,
                telemetry,
            });
            return Box::pin(async move { answering.response(execution.execute().await) }.instrument(span));
        }
        (RequestKind::WithoutKey, _) if policy.required => {
            refuse(&engine, &Refusal::no_key(&Expected::from_policy(policy), None))
        }
        (RequestKind::KeyValueInvalid(error), _) => refuse(&engine, &error.into()),
        // The fault was logged where it was found.
        (RequestKind::Faulty, _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        (RequestKind::WithoutKey, _) => {
            engine.metrics.handler(policy.handler).ran_without_key();
            return handler;
        }
        _ => return handler,
    };
    Box::pin(ready(refused))
}

/// Answers a request that is refused because of its head or its body, before its handler is known.
pub(crate) fn refuse(engine: &Engine, refusal: &Refusal) -> Response {
    let problem = refusal.problem(&engine.settings);
    telemetry::refused_early(&engine.settings.namespace, problem.kind().slug(), texts::advice(problem.kind()));
    engine.settings.answer(problem)
}
