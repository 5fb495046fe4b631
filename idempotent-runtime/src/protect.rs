//! The story of a request: what the store answers to its claim, and what follows.

use std::{any::Any, future::Future, panic::resume_unwind, pin::Pin, sync::Arc};

use axum::response::Response;
use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::{Instrument, Span, instrument::WithSubscriber};

use crate::{
    capture::{CapturedBody, CapturedRequest, Keyed, Scope, Seen},
    claim::{Grant, Slot},
    claiming::{self, Claiming},
    error_chain::chain,
    idempotency::{Engine, Outage},
    identity::{Content, Name, Route},
    journal::Page,
    key::{CLOCK_TOLERANCE, Key},
    policy::Policy,
    problem::Problem,
    record, refusal,
    running::Running,
    store::{Answer, Attempt, StoreError},
};

/// The user's handler, its last argument and its return type gone.
pub(crate) type Handler = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Response> + Send>> + Send>;

/// Where the client's side waits: for a response, or for the panic that the handler ended in.
pub(crate) type Reply = oneshot::Sender<Result<Response, Box<dyn Any + Send>>>;

/// Answers a request: by the handler, by what is stored, or by a problem.
pub(crate) async fn protect(request: CapturedRequest, policy: &'static Policy, handler: Handler) -> Response {
    let CapturedRequest { idempotency, slot, scope, seen } = request;
    let engine = idempotency.engine();
    let keyed = match seen {
        Seen::Exempt => return handler().await,
        Seen::WithoutKey if !policy.required => return handler().await,
        Seen::WithoutKey => return engine.settings.answer(refusal::key_missing(&engine.settings.header)),
        Seen::Keyed(keyed) => keyed,
    };
    match identify(engine, &keyed, scope.as_ref(), policy) {
        Err(problem) => engine.settings.answer(problem),
        Ok(identified) => detach(engine, Request { identified, policy, slot, handler }).await,
    }
}

/// A request that is about to claim its key.
struct Request {
    identified: Identified,
    policy: &'static Policy,
    slot: Arc<Slot>,
    handler: Handler,
}

/// Who a request is. Frozen here: nothing that the handler does to its arguments changes it.
struct Identified {
    key: Key,
    attempt: Attempt,
    scoped: bool,
}

fn identify(engine: &Engine, keyed: &Keyed, scope: Option<&Scope>, policy: &Policy) -> Result<Identified, Problem> {
    let key = Key::parse(&keyed.key, policy.key).map_err(refusal::key_invalid)?;
    let body: &Bytes = match &keyed.body {
        CapturedBody::Whole(body) => body,
        CapturedBody::TooLarge => return Err(refusal::request_too_large(engine.settings.max_request)),
        CapturedBody::Broken => return Err(refusal::request_unreadable()),
    };
    let name = Name {
        namespace: &engine.settings.namespace,
        method: keyed.method.as_str(),
        route: match &keyed.matched {
            Some(pattern) => Route::Matched(pattern.as_str()),
            None => Route::Path(keyed.uri.path()),
        },
        scope: scope.map(Scope::as_str),
        key: key.as_str(),
    };
    let name = name.join();
    let credentials: Vec<_> = keyed.credentials.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let content = Content {
        name: &name,
        method: keyed.method.as_str(),
        path: keyed.uri.path(),
        query: keyed.uri.query(),
        credentials: scope.is_none().then_some(&credentials),
        body,
    };
    let fingerprint = content.fingerprint();
    let mut attempt = Attempt::new(name, fingerprint);
    attempt.lease = policy.lease;
    // A dated key may be used until its ttl is over by a clock that is behind; its record must still be there.
    attempt.ttl = if key.is_dated() { policy.ttl + CLOCK_TOLERANCE } else { policy.ttl };
    attempt.takeover = policy.takeover;
    Ok(Identified { key, attempt, scoped: scope.is_some() })
}

/// Runs the request in a task of its own, so that a client that hangs up changes nothing.
async fn detach(engine: &Arc<Engine>, request: Request) -> Response {
    let Ok(permit) = engine.in_flight.clone().try_acquire_owned() else {
        return engine.settings.answer(refusal::too_many_in_flight());
    };
    let (reply, answer) = oneshot::channel();
    let shared = engine.clone();
    let task = async move {
        decide(&shared, request, reply).await;
        drop(permit);
    };
    engine.tasks.spawn(task.instrument(Span::current()).with_current_subscriber());
    match answer.await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => resume_unwind(panic),
        // The task ended without a word: a store of the user's own panicked, or the runtime is going down.
        Err(_) => engine.settings.answer(refusal::outcome_unknown()),
    }
}

/// One `match` over what the store answered.
async fn decide(engine: &Arc<Engine>, request: Request, mut reply: Reply) {
    let Request { identified: Identified { key, attempt, scoped }, policy, slot, handler } = request;
    let problem = match claiming::claim(engine, policy, &key, &attempt, &mut reply).await {
        Claiming::Answered(Answer::Yours { fence, recovering }) => {
            let page = Arc::new(Page::new(engine, &attempt, fence, scoped));
            let running = Running::new(engine, policy, &attempt, Some(fence), page.clone());
            slot.fill(Grant { key, page, claimed: Some(running.claimed(recovering)) });
            return running.run(handler, reply).await;
        }
        Claiming::Failed { known: false, .. } if engine.settings.outage == Outage::RunUnprotected => {
            let page = Arc::new(Page::new(engine, &attempt, 0, scoped));
            slot.fill(Grant { key, page: page.clone(), claimed: None });
            tracing::warn!(
                idempotency.outcome = "unprotected",
                handler = policy.handler,
                "runs while the store is down"
            );
            return Running::new(engine, policy, &attempt, None, page).run(handler, reply).await;
        }
        Claiming::Answered(Answer::Done(record)) => match record::answer(&record) {
            Ok(response) => return answer(reply, response),
            Err(problem) => problem,
        },
        Claiming::Answered(Answer::Running { left }) => refusal::in_flight(left, attempt.lease),
        Claiming::Answered(Answer::Died) => refusal::outcome_unknown(),
        Claiming::Answered(Answer::OtherRequest) => refusal::key_reused(scoped),
        Claiming::Answered(Answer::Unreadable) => {
            tracing::error!("a stored record makes no sense or would never expire");
            refusal::record_unreadable()
        }
        Claiming::Expired => refusal::key_expired(),
        Claiming::FromTheFuture => refusal::key_from_the_future(),
        Claiming::Failed { error: StoreError::Full(_), .. } => refusal::store_full(),
        Claiming::Failed { .. } => refusal::store_unavailable(),
        Claiming::JournalFailed(error) => {
            tracing::error!(error = %chain(&error), handler = policy.handler, "the journal cannot be read");
            refusal::journal_unavailable()
        }
        Claiming::NobodyWaits => return,
    };
    tracing::debug!(idempotency.outcome = problem.kind().slug(), "answered in the handler's place");
    answer(reply, engine.settings.answer(problem));
}

fn answer(reply: Reply, response: Response) {
    // The client may be gone; there is nobody else to tell.
    let _ = reply.send(Ok(response));
}
