//! The story of a request: what the store answers to its claim, and what follows.

use std::{future::Future, panic::resume_unwind, sync::Arc};

use axum::response::Response;
use tokio::{sync::oneshot, time::Instant};
use tracing::{Instrument, Span};

use super::{
    Engine, Handler, Replied,
    acquire::{self, Claiming},
    admission::Admission,
    page::{ClaimCell, Grant, Page},
    run::Running,
};
use crate::{
    config::{Outage, policy::Policy},
    request::{
        Refusal, RequestKind, Scope,
        identify::{Identity, identify},
        key::CLOCK_TOLERANCE,
    },
    response::{problem::Problem, problem_texts, record},
    store::{Acquired, Attempt, ClaimOutcome, StoreError},
    telemetry,
};

/// Where the client's side waits. Until it is sent, the request counts as in flight.
pub(crate) struct Reply {
    answer: oneshot::Sender<Replied>,
    _in_flight: Admission,
}

impl Reply {
    /// The client may be gone; there is nobody else to tell, and its retry finds what was stored.
    pub(crate) fn send(self, replied: Replied) {
        let _ = self.answer.send(replied);
    }
}

/// A request as far as its claim is concerned.
pub(crate) struct CapturedRequest {
    pub(crate) engine: Arc<Engine>,
    pub(crate) slot: Arc<ClaimCell>,
    pub(crate) scope: Option<Scope>,
    pub(crate) seen: RequestKind,
    /// Its place among the requests in flight, if it has a key.
    pub(crate) admission: Option<Admission>,
}

/// Answers a request: by the handler, by what is stored, or by a problem.
pub(crate) async fn protect(request: CapturedRequest, policy: &'static Policy, handler: Handler) -> Response {
    let CapturedRequest { engine, slot, scope, seen, admission } = request;
    let engine = &engine;
    let (keyed, admission) = match (seen, admission) {
        (RequestKind::Keyed(keyed), Some(admission)) => (keyed, admission),
        (RequestKind::WithoutKey, _) if policy.required => return refuse(engine, Refusal::KeyMissing { meant: None }),
        _ => return handler().await,
    };
    let answer = async {
        let answered = match identify(&engine.settings, policy, *keyed, scope.as_ref()) {
            Ok(identity) => decide(engine, identity, policy, &slot, admission, handler).await,
            Err(refusal) => Err(problem_texts::refused(&refusal, &engine.settings)),
        };
        answered.unwrap_or_else(|problem| {
            telemetry::refused(policy.handler, problem.kind());
            engine.settings.answer(problem)
        })
    };
    answer.instrument(telemetry::request(policy.handler)).await
}

/// Answers a request that gets no further than its head or its body. Its handler is not known yet.
pub(crate) fn refuse(engine: &Engine, refusal: Refusal) -> Response {
    let problem = problem_texts::refused(&refusal, &engine.settings);
    telemetry::turned_away(problem.kind());
    engine.settings.answer(problem)
}

/// What the store is asked for, for a request that is known.
fn attempt(identity: &Identity, policy: &Policy) -> Attempt {
    let mut attempt = Attempt::new(identity.name.clone(), identity.fingerprint);
    attempt.lease = policy.lease;
    // A dated key may be used until its ttl is over by a clock that is behind; its record must still be there.
    attempt.ttl = if identity.key.is_dated() { policy.ttl + CLOCK_TOLERANCE } else { policy.ttl };
    attempt.takeover = policy.takeover;
    attempt
}

/// One `match` over what the store answered.
///
/// Until the key is this attempt's nothing has happened, and a client that hangs up ends it all.
async fn decide(
    engine: &Arc<Engine>,
    identity: Identity,
    policy: &'static Policy,
    slot: &ClaimCell,
    in_flight: Admission,
    handler: Handler,
) -> Result<Response, Problem> {
    let attempt = attempt(&identity, policy);
    let Identity { key, scoped, .. } = identity;
    let claimed = Instant::now();
    match acquire::claim(engine, policy, &key, &attempt).await {
        Claiming::Answered(ClaimOutcome::Acquired(Acquired { fence, recovering, .. })) => {
            telemetry::runs(policy.handler, Some(fence), recovering);
            let page = Page::open(engine, attempt, Some(fence), recovering, scoped);
            let running = Running::new(page.clone(), policy, claimed);
            slot.fill(Grant { key, page, claimed: Some(running.claimed(recovering)) });
            detach(engine, in_flight, |reply| running.run(handler, reply)).await
        }
        Claiming::Unknown if engine.settings.outage == Outage::RunUnprotected => {
            telemetry::runs(policy.handler, None, false);
            let page = Page::open(engine, attempt, None, true, scoped);
            let running = Running::new(page.clone(), policy, claimed);
            slot.fill(Grant { key, page, claimed: None });
            detach(engine, in_flight, |reply| running.run(handler, reply)).await
        }
        Claiming::Answered(ClaimOutcome::Done(record)) => {
            record::answer(&record).inspect(|_| telemetry::replayed(policy.handler))
        }
        Claiming::Answered(ClaimOutcome::Running { left }) => {
            telemetry::meets_running(left);
            Err(problem_texts::in_flight(left, attempt.lease))
        }
        Claiming::Answered(ClaimOutcome::Died) => Err(problem_texts::outcome_unknown()),
        Claiming::Answered(ClaimOutcome::OtherRequest) => Err(problem_texts::key_reused(scoped)),
        Claiming::Answered(ClaimOutcome::Unreadable) => {
            tracing::error!("a stored record makes no sense or would never expire");
            Err(problem_texts::record_unreadable())
        }
        Claiming::Expired => Err(problem_texts::key_expired()),
        Claiming::FromTheFuture => Err(problem_texts::key_from_the_future()),
        Claiming::Failed(StoreError::Full(_)) => Err(problem_texts::store_full()),
        Claiming::Unknown | Claiming::Failed(_) => Err(problem_texts::store_unavailable()),
        Claiming::JournalFailed => Err(problem_texts::journal_unavailable()),
    }
}

/// Runs an attempt in a task of its own, so that a client that hangs up changes nothing any more.
async fn detach<F>(engine: &Engine, in_flight: Admission, run: impl FnOnce(Reply) -> F) -> Result<Response, Problem>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    // Boxed before it is wrapped and moved: it is large.
    let task = Box::pin(run(Reply { answer, _in_flight: in_flight }));
    engine.tasks.spawn(task.instrument(Span::current()));
    match answered.await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(panic)) => resume_unwind(panic),
        // The task ended without a word: a store of the user's own panicked, or the runtime is going down.
        Err(_) => Err(problem_texts::interrupted()),
    }
}
