//! Runs one request: claim, handler, store, answer.

use std::{panic::resume_unwind, sync::Arc};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{
    Admission, Engine, Handler,
    acquire::{AcquireOutcome, acquire},
    attempt::{ActiveAttempt, ClaimCell, Started},
    deadline,
    in_place::InPlace,
    recover,
    release::ReleaseOnDrop,
    run::attempting,
    steps::Steps,
};
use crate::{
    config::{Outage, policy::Policy},
    request::{
        Expected, KeyedRequest, Refusal, RequestKind, Scope,
        identify::{Identity, identify},
        key::CLOCK_TOLERANCE,
    },
    response::{problem::Problem, problem_texts, record},
    store::{Acquired, Attempt, ClaimOutcome, StoreError},
    telemetry::{self, KeyDigest, RequestTelemetry},
};

/// A request as far as its claim is concerned.
pub(crate) struct CapturedRequest {
    pub(crate) engine: Arc<Engine>,
    pub(crate) cell: Arc<ClaimCell>,
    pub(crate) scope: Option<Scope>,
    pub(crate) kind: RequestKind,
    /// Its place among the requests in flight, if it has a key.
    pub(crate) admission: Option<Admission>,
}

/// Answers a request: by the handler, by what is stored, or by a problem.
pub(crate) async fn protect(request: CapturedRequest, policy: &'static Policy, handler: Handler) -> Response {
    let CapturedRequest { engine, cell, scope, kind, admission } = request;
    match (kind, admission) {
        (RequestKind::Keyed(request), Some(admission)) => {
            let telemetry = RequestTelemetry::new(engine.metrics.handler(policy.handler));
            let span = telemetry.span().clone();
            let protection = Protection { engine, policy, cell, telemetry, admission };
            protection.answer(request, scope, handler).instrument(span).await
        }
        (RequestKind::WithoutKey, _) if policy.required => {
            refuse(&engine, &Refusal::no_key(&Expected::of(policy), None))
        }
        (RequestKind::KeyValueInvalid(error), _) => refuse(&engine, &error.into()),
        // It is logged where it was found.
        (RequestKind::Faulty, _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => handler.await,
    }
}

/// Answers a request that gets no further than its head or its body. Its handler is not known yet.
pub(crate) fn refuse(engine: &Engine, refusal: &Refusal) -> Response {
    let problem = problem_texts::refused(refusal, &engine.settings);
    telemetry::turned_away(problem.kind().slug());
    engine.settings.answer(problem)
}

/// What protects one request.
struct Protection {
    engine: Arc<Engine>,
    policy: &'static Policy,
    cell: Arc<ClaimCell>,
    telemetry: RequestTelemetry,
    admission: Admission,
}

impl Protection {
    async fn answer(self, request: Box<KeyedRequest>, scope: Option<Scope>, handler: Handler) -> Response {
        let (engine, telemetry) = (Arc::clone(&self.engine), self.telemetry.clone());
        let identity = identify(&engine.settings, self.policy, *request, scope.as_ref());
        let answered = self.decide(identity, handler).await;
        answered.unwrap_or_else(|problem| engine.answer(problem, &telemetry))
    }

    /// One `match` over what the store answered.
    ///
    /// Until the key is this attempt's nothing has happened, and a client that hangs up ends it all.
    async fn decide(self, identity: Identity, handler: Handler) -> Result<Response, Problem> {
        let attempt = self.attempt(&identity);
        let scoped = identity.scoped;
        self.telemetry.named(attempt.key.as_str());
        let mut outcome = acquire(&self.engine, self.policy, &identity.key, &attempt).await;
        if let Some(journal) = self.engine.journal.as_ref().filter(|_| recover::is_due(&self.engine, &outcome)) {
            outcome = Box::pin(recover::recover(&self.engine, &**journal, &attempt, outcome)).await;
        }
        if let (AcquireOutcome::Answered(ClaimOutcome::Running { .. }, _), Some(journal)) =
            (&outcome, &self.engine.journal)
        {
            outcome = Box::pin(recover::replay_committed(&self.engine, &**journal, &attempt, outcome)).await;
        }
        match outcome {
            AcquireOutcome::Answered(ClaimOutcome::Acquired(held), claimed) => {
                self.telemetry.runs(attempt.key.as_str(), held.fence, held.recovering);
                self.run(identity, attempt, Some(held), claimed, handler).await
            }
            AcquireOutcome::Unknown if self.engine.settings.outage == Outage::RunUnprotected => {
                self.telemetry.runs_unprotected(attempt.key.as_str());
                self.run(identity, attempt, None, Instant::now(), handler).await
            }
            AcquireOutcome::Answered(ClaimOutcome::Done(record), _) => {
                record::answer(&record).inspect(|_| self.telemetry.replayed())
            }
            AcquireOutcome::Answered(ClaimOutcome::Running { left }, _) => {
                self.telemetry.meets_running(left);
                Err(problem_texts::in_flight(left, attempt.lease))
            }
            AcquireOutcome::Answered(ClaimOutcome::Died, _) => Err(problem_texts::outcome_unknown()),
            AcquireOutcome::Answered(ClaimOutcome::OtherRequest, _) => Err(problem_texts::key_reused(scoped)),
            AcquireOutcome::Answered(ClaimOutcome::Unreadable, _) => {
                tracing::error!(idempotency.digest = %KeyDigest(attempt.key.as_str()), "a stored record makes no sense or would never expire");
                Err(problem_texts::record_unreadable())
            }
            AcquireOutcome::Expired => Err(problem_texts::key_expired()),
            AcquireOutcome::FromTheFuture => Err(problem_texts::key_from_the_future()),
            AcquireOutcome::Failed(StoreError::Full(_)) => Err(problem_texts::store_full()),
            AcquireOutcome::Unknown | AcquireOutcome::Failed(_) => Err(problem_texts::store_unavailable()),
            AcquireOutcome::JournalFailed => Err(problem_texts::journal_unavailable()),
        }
    }

    /// What the store is asked for.
    fn attempt(&self, identity: &Identity) -> Attempt {
        let Self { engine, policy, .. } = self;
        // A dated key may be used until its ttl is over by a clock that is behind; its record must still be there.
        let ttl = if identity.key.is_dated() { policy.ttl + CLOCK_TOLERANCE } else { policy.ttl };
        Attempt {
            key: identity.name.clone(),
            token: engine.tokens.next(&identity.fingerprint),
            fingerprint: identity.fingerprint,
            lease: policy.lease,
            ttl,
            takeover: policy.takeover,
        }
    }

    /// Runs the handler. From here on a client that hangs up changes nothing.
    async fn run(
        self,
        identity: Identity,
        attempt: Attempt,
        held: Option<Acquired>,
        claimed: Instant,
        handler: Handler,
    ) -> Result<Response, Problem> {
        let Self { engine, policy, cell, telemetry, admission } = self;
        let span = telemetry.span().clone();
        let Identity { key, scoped, .. } = identity;
        let Some(steps) = Steps::of(held.as_ref()) else {
            return Err(Box::pin(refuse_unreadable(&engine, &attempt)).await);
        };
        let started = Started { engine, policy, key, attempt, scoped, held, claimed, telemetry, steps };
        let active = ActiveAttempt::start(started);
        cell.fill(&active);
        match InPlace::new(attempting(active, handler, admission), span).await {
            Ok(response) => Ok(response),
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Gives up a claim whose saved steps cannot be read: to run without them would repeat what they did.
async fn refuse_unreadable(engine: &Arc<Engine>, attempt: &Attempt) -> Problem {
    let digest = KeyDigest(attempt.key.as_str());
    tracing::error!(idempotency.digest = %digest, "the saved steps of a claim make no sense");
    let abandoned = deadline::once(engine.settings.store_timeout, engine.store.abandon(attempt)).await;
    drop(ReleaseOnDrop { engine, attempt, armed: abandoned.is_err() });
    problem_texts::record_unreadable()
}
