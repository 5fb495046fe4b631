//! Runs one request: claim, handler, store, answer.

use std::{future::ready, panic::resume_unwind, sync::Arc};

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
    in_place::InPlace,
    recover,
    release::{GivenUp, give_up_behind},
    run::attempting,
    steps::Steps,
};
use crate::{
    byte_budget::ReservedBytes,
    config::{Outage, policy::Policy},
    http::{
        request::{
            Expected, Refusal, RequestKind, Scope,
            body_digest::BodyDigest,
            identify::{Identity, identify},
            key::{CLOCK_TOLERANCE, Key},
        },
        response::{problem_texts, record},
    },
    store::{Acquired, ClaimOutcome, ClaimRequest, StoreError},
    telemetry::{self, KeyDigest, RequestTelemetry, limited},
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
    let refused = match (kind, admission) {
        (RequestKind::Keyed(request), Some(admission)) => {
            let telemetry = RequestTelemetry::new(engine.metrics.handler(policy.handler));
            let span = telemetry.span().clone();
            let identity = identify(&engine.settings, policy, *request, scope.as_ref());
            let attempt = attempt(&engine, policy, &identity);
            let Identity { key, scoped, .. } = identity;
            // One box: each value that is kept over an `await` would make every future around this one larger.
            let protection =
                Box::new(Protection { engine, policy, cell, telemetry, admission, key, attempt, scoped, handler });
            return Box::pin(protection.answer().instrument(span));
        }
        (RequestKind::WithoutKey, _) if policy.required => {
            refuse(&engine, &Refusal::no_key(&Expected::of(policy), None))
        }
        (RequestKind::KeyValueInvalid(error), _) => refuse(&engine, &error.into()),
        // The fault was logged where it was found.
        (RequestKind::Faulty, _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => return handler,
    };
    Box::pin(ready(refused))
}

/// Answers a request that is refused because of its head or its body, before its handler is known.
pub(crate) fn refuse(engine: &Engine, refusal: &Refusal) -> Response {
    let problem = problem_texts::refused(refusal, &engine.settings);
    telemetry::turned_away(problem.kind().slug());
    engine.settings.answer(problem)
}

/// The claim that the store is asked for.
fn attempt(engine: &Engine, policy: &Policy, identity: &Identity) -> ClaimRequest {
    // By a clock that is behind, a key with a time stamp is valid for longer. Its record must exist for as long.
    let ttl = if identity.key.is_dated() { policy.ttl + CLOCK_TOLERANCE } else { policy.ttl };
    ClaimRequest {
        key: identity.name.clone(),
        token: engine.tokens.next(&identity.fingerprint),
        fingerprint: identity.fingerprint,
        lease: policy.lease,
        ttl,
        takeover: policy.takeover,
    }
}

/// All that is needed to protect one request.
struct Protection {
    engine: Arc<Engine>,
    policy: &'static Policy,
    cell: Arc<ClaimCell>,
    telemetry: RequestTelemetry,
    admission: Admission,
    key: Key,
    attempt: ClaimRequest,
    scoped: bool,
    handler: Handler,
}

/// Whether the handler runs.
enum Decision {
    /// The handler runs.
    Run(InPlace),
    /// The handler does not run. The answer is a stored response or a problem.
    Answer(Response),
}

impl Protection {
    /// If the client hangs up before the key is claimed, the request ends: nothing has happened. After the claim, the
    /// attempt goes on without the client.
    async fn answer(self: Box<Self>) -> Response {
        // Each field is borrowed by itself: the handler is not `Sync`, so it must not be borrowed over an `await`.
        let Self { engine, policy, key, attempt, telemetry, .. } = &*self;
        telemetry.named(attempt.key.as_str());
        let outcome = ask(engine, policy, key, attempt).await;
        match self.decide(outcome) {
            Decision::Answer(response) => response,
            Decision::Run(attempt) => attempt.await.unwrap_or_else(|panic| resume_unwind(panic)),
        }
    }

    /// Decides what to do, by the store's answer.
    fn decide(self: Box<Self>, outcome: AcquireOutcome) -> Decision {
        let name = self.attempt.key.as_str();
        let problem = match outcome {
            AcquireOutcome::Answered(ClaimOutcome::Acquired(held), claimed) => {
                self.telemetry.runs(name, held.fence, held.recovering);
                return self.run(Some(held), claimed);
            }
            AcquireOutcome::Unknown if self.engine.settings.outage == Outage::RunUnprotected => {
                self.telemetry.runs_unprotected(name);
                return self.run(None, Instant::now());
            }
            AcquireOutcome::Answered(ClaimOutcome::Done(record), _) => match record::answer(&record) {
                Ok(response) => {
                    self.telemetry.replayed();
                    return Decision::Answer(response);
                }
                Err(problem) => problem,
            },
            AcquireOutcome::Answered(ClaimOutcome::Running { left }, _) => {
                self.telemetry.meets_running(left);
                problem_texts::in_flight(left, self.attempt.lease)
            }
            AcquireOutcome::Answered(ClaimOutcome::Died, _) => problem_texts::outcome_unknown(),
            AcquireOutcome::Answered(ClaimOutcome::OtherRequest, _) => problem_texts::key_reused(self.scoped),
            AcquireOutcome::Answered(ClaimOutcome::Unreadable, _) => {
                let digest = KeyDigest(name);
                limited!(error, idempotency.digest = %digest, "a stored record cannot be read, or would never expire");
                problem_texts::record_unreadable()
            }
            AcquireOutcome::Expired => problem_texts::key_expired(),
            AcquireOutcome::FromTheFuture => problem_texts::key_from_the_future(),
            AcquireOutcome::Failed(StoreError::Full(_)) => problem_texts::store_full(),
            AcquireOutcome::Unknown | AcquireOutcome::Failed(_) => problem_texts::store_unavailable(),
            AcquireOutcome::JournalFailed => problem_texts::journal_unavailable(),
        };
        Decision::Answer(self.engine.answer(problem, &self.telemetry))
    }

    /// Starts the attempt.
    fn run(self: Box<Self>, held: Option<Acquired>, claimed: Instant) -> Decision {
        let Self { engine, policy, cell, telemetry, admission, key, attempt, scoped, handler } = *self;
        let Some(steps) = Steps::of(held.as_ref()) else {
            let digest = KeyDigest(attempt.key.as_str());
            limited!(error, idempotency.digest = %digest, "the saved steps of a claim cannot be read");
            // The steps cannot be read. Running without them would repeat their effects, so the handler does not run.
            give_up_behind(&engine, &attempt, GivenUp::Lease);
            return Decision::Answer(engine.answer(problem_texts::record_unreadable(), &telemetry));
        };
        let span = telemetry.span().clone();
        let started = Started { engine, policy, key, attempt, scoped, held, claimed, telemetry, steps };
        let active = ActiveAttempt::start(started);
        cell.fill(&active);
        Decision::Run(InPlace::new(attempting(active, handler, admission), span))
    }
}

/// Asks the store for the key, and the journal if the store's answer is not enough.
async fn ask(engine: &Arc<Engine>, policy: &Policy, key: &Key, attempt: &ClaimRequest) -> AcquireOutcome {
    let outcome = acquire(engine, policy, key, attempt).await;
    let Some(journal) = engine.journal.as_deref() else { return outcome };
    if recover::is_due(engine, &outcome) {
        return Box::pin(recover::recover(engine, journal, attempt, outcome)).await;
    }
    if let AcquireOutcome::Answered(ClaimOutcome::Running { .. }, _) = outcome {
        return Box::pin(recover::replay_committed(engine, journal, attempt, outcome)).await;
    }
    outcome
}
