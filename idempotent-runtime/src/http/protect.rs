//! Protects one call of a handler: gives the engine its request, and makes a response of the engine's answer.

use std::{future::ready, sync::Arc, time::Duration};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tracing::Instrument as _;

use super::{
    handler::{Handler, run},
    request::{
        Expected, Refusal, RequestKind, Scope,
        body_digest::BodyDigest,
        identify::{Identity, identify},
    },
    response::record,
};
use crate::{
    byte_budget::ReservedBytes,
    config::policy::{FingerprintOf, Policy},
    engine::{Admission, Answer, ClaimCell, Engine, Execution, Refused, Reply, Request},
    problem::{Problem, REPLAYED, texts},
    telemetry::{self, RequestTelemetry, limited},
};

/// A request, with what the engine needs to claim its key.
pub(crate) struct CapturedRequest {
    pub(crate) engine: Arc<Engine>,
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

/// Answers a request: with the handler's response, a stored response, or a problem.
///
/// A plain function, since an `async fn` would keep a second copy of what it moves into its parts.
pub(crate) fn protect(request: CapturedRequest, policy: &'static Policy, handler: Handler) -> Handler {
    let CapturedRequest { engine, cell, scope, kind, admission } = request;
    if let Some(operation) = policy.operation
        && let Some(first) = engine.operations.other_user(operation, policy.handler)
    {
        let second = policy.handler;
        limited!(OPERATION_TWICE, operation, first, second);
        return Box::pin(ready(StatusCode::INTERNAL_SERVER_ERROR.into_response()));
    }
    let refused = match (kind, admission) {
        (RequestKind::Keyed(keyed), Some(admission)) => {
            let telemetry = RequestTelemetry::new(engine.metrics.handler(policy.handler));
            let span = telemetry.span().clone();
            if scope.is_none() && policy.fingerprint != FingerprintOf::KeyAlone && keyed.is_anonymous() {
                telemetry::anonymous(policy.handler);
            }
            let Identity { key, name, fingerprint, scoped } =
                identify(&engine.settings, policy, *keyed, scope.as_ref());
            let terms = policy.terms(&engine.settings.terms);
            let (key, made) = key.into_parts();
            let claim = engine.claim(name, fingerprint, made, terms);
            let (shared, lease) = (Arc::clone(&engine), terms.lease);
            let answering = Answering { engine: Arc::clone(&engine), telemetry: telemetry.clone(), scoped, lease };
            let execution = Box::new(Execution {
                request: Request { handler: policy.handler, key, made, claim, wait: terms.wait },
                work: move || run(shared, handler, policy),
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
    telemetry::turned_away(problem.kind().slug(), texts::advice(problem.kind()));
    engine.settings.answer(problem)
}

/// Makes the response of an answer.
struct Answering {
    engine: Arc<Engine>,
    telemetry: RequestTelemetry,
    scoped: bool,
    /// The longest time until a running attempt counts as dead.
    lease: Duration,
}

impl Answering {
    fn response(&self, answer: Answer<Response>) -> Response {
        let problem = match answer {
            Answer::Ran(Reply::Value(response)) => return response,
            Answer::Ran(reply) => return self.reply(reply),
            Answer::Replayed(record) => match record::answer(&record) {
                Ok(response) => {
                    self.telemetry.replayed();
                    return response;
                }
                Err(problem) => problem,
            },
            Answer::Refused(refused) => self.problem(refused),
        };
        let kind = problem.kind();
        self.telemetry.refused(kind as usize, kind.slug(), texts::advice(kind));
        self.engine.settings.answer(problem)
    }

    /// The journal has another response than the handler returned.
    fn reply(&self, reply: Reply<Response>) -> Response {
        let found = match reply {
            Reply::Value(response) => Ok(response),
            Reply::Replayed(record) => record::answer(&record),
            Reply::Committed(record) => record::answer(&record).map(|mut response| {
                response.headers_mut().remove(REPLAYED);
                response
            }),
            Reply::Refused(refused) => Err(self.problem(refused)),
        };
        found.unwrap_or_else(|problem| self.engine.settings.answer(problem))
    }

    fn problem(&self, refused: Refused) -> Problem {
        match refused {
            Refused::Running { left } => texts::in_flight(left, self.lease),
            Refused::Died => texts::outcome_unknown(),
            Refused::OtherRequest => texts::key_reused(self.scoped),
            Refused::Unreadable => texts::record_unreadable(),
            Refused::Expired => texts::key_expired(),
            Refused::FromTheFuture => texts::key_from_the_future(),
            Refused::StoreFull => texts::store_full(),
            Refused::StoreUnavailable => texts::store_unavailable(),
            Refused::JournalUnavailable => texts::journal_unavailable(),
        }
    }
}
