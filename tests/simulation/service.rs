//! The handlers of a simulation, and the operations that some seeds run instead. What each run does is chosen when it
//! begins.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use idempotent_runtime::{Claim, Idempotency, Operation, Outcome, RunError, StepError, Takeover, idempotent};
use tokio::time::sleep;

use crate::{
    history::{End, Run, Step},
    store::VirtualStore,
    world::World,
};

/// The paths, each with options of its own.
pub(crate) const PATHS: [&str; 3] = ["/plain", "/waits", "/refuses"];

pub(crate) const LEASE: Duration = Duration::from_secs(3);

#[derive(Clone, FromRef)]
pub(crate) struct App {
    idempotency: Idempotency,
    service: Service,
}

#[derive(Clone)]
pub(crate) struct Service {
    world: Arc<World>,
    process: usize,
    max_attempt: Duration,
}

/// The routes of one process.
pub(crate) fn routes(store: VirtualStore, max_attempt: Duration) -> (Router, Idempotency) {
    let service = Service { world: Arc::clone(&store.world), process: store.process, max_attempt };
    let settings = Idempotency::builder(store).namespace("simulation").store_timeout(Duration::from_millis(500));
    let idempotency = settings.max_attempt(max_attempt).max_buffered(BODIES).build();
    let by_operations = service.world.by_operations;
    let app = App { idempotency: idempotency.clone(), service };
    let routes = if by_operations {
        let route = |path, terms: fn(Operation<'_>) -> Operation<'_>| {
            post(move |State(app): State<App>, headers: HeaderMap, _: Bytes| operate(path, terms, app, headers))
        };
        Router::new()
            .route("/plain", route("/plain", |operation| operation))
            .route("/waits", route("/waits", |operation| operation.wait(Duration::from_secs(4))))
            .route("/refuses", route("/refuses", |operation| operation.takeover(Takeover::Refuse)))
    } else {
        Router::new().route("/plain", post(plain)).route("/waits", post(waits)).route("/refuses", post(refuses))
    };
    (routes.with_state(app), idempotency)
}

/// How many bytes the bodies of all requests may have.
pub(crate) const BODIES: usize = 1_000;

#[idempotent(ttl = "24h", lease = "3s")]
async fn plain(State(service): State<Service>, claim: Claim, _: Bytes) -> Response {
    service.run("/plain", claim).await
}

#[idempotent(ttl = "24h", lease = "3s", wait = "4s")]
async fn waits(State(service): State<Service>, claim: Claim, _: Bytes) -> Response {
    service.run("/waits", claim).await
}

#[idempotent(ttl = "24h", lease = "3s", takeover = "refuse")]
async fn refuses(State(service): State<Service>, claim: Claim, _: Bytes) -> Response {
    service.run("/refuses", claim).await
}

/// Runs an operation, and answers as a protected handler does.
async fn operate(
    path: &'static str,
    terms: fn(Operation<'_>) -> Operation<'_>,
    App { idempotency, service }: App,
    headers: HeaderMap,
) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap();
    let operation = terms(idempotency.operation(path).key(key).lease(LEASE));
    let outcome = operation.run(async move |claim: Claim| service.operate(path, claim).await).await;
    match outcome {
        Ok(Outcome::Ran(body)) => (StatusCode::CREATED, body).into_response(),
        Ok(Outcome::Replayed(body)) => (StatusCode::CREATED, [("idempotent-replayed", "true")], body).into_response(),
        Ok(Outcome::Running { .. } | Outcome::Died) => StatusCode::CONFLICT.into_response(),
        Err(RunError::Effect(Failed)) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Err(RunError::StoreUnavailable | RunError::StoreFull | RunError::TooManyInFlight) => {
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        // The history takes no other status.
        other => (StatusCode::IM_A_TEAPOT, format!("{other:?}")).into_response(),
    }
}

/// What an operation returns instead of a value.
#[derive(Debug)]
struct Failed;

/// What a run does at its end.
#[derive(Clone, Copy)]
enum Last {
    Respond,
    RespondSlowly,
    Fail,
    Panic,
}

impl Service {
    async fn run(&self, path: &str, claim: Claim) -> Response {
        let (running, last, body) = self.world.unless_blocked(self.process, self.work(path, &claim)).await;
        match last {
            Last::Respond => running.end(End::Responded, (StatusCode::CREATED, body).into_response()),
            Last::RespondSlowly => {
                let chunks = stream::iter(body.into_bytes().into_iter().map(|byte| [byte])).then(|byte| async move {
                    sleep(Duration::from_millis(20)).await;
                    Ok::<_, Infallible>(byte.to_vec())
                });
                running.end(End::Responded, (StatusCode::CREATED, Body::from_stream(chunks)).into_response())
            }
            Last::Fail => running.end(End::Failed, StatusCode::INTERNAL_SERVER_ERROR.into_response()),
            Last::Panic => running.panic(),
        }
    }

    async fn operate(&self, path: &str, claim: Claim) -> Result<String, Failed> {
        let (running, last, body) = self.world.unless_blocked(self.process, self.work(path, &claim)).await;
        match last {
            Last::Respond | Last::RespondSlowly => running.end(End::Responded, Ok(body)),
            Last::Fail => running.end(End::Failed, Err(Failed)),
            Last::Panic => running.panic(),
        }
    }

    /// A run until its end, what it does there, and the body of its response.
    async fn work(&self, path: &str, claim: &Claim) -> (Running, Last, String) {
        let key = format!("{path} {}", claim.key().unwrap());
        let running = Running::begin(self, key.clone(), claim);
        let (works, steps, last, heeds_loss) = self.world.random(|random| {
            let works = if random.percent(60) { random.millis(0..300) } else { random.millis(300..12_000) };
            let last = match random.below(10) {
                0..5 => Last::Respond,
                5 => Last::RespondSlowly,
                6..9 => Last::Fail,
                _ => Last::Panic,
            };
            (works, random.below(3), last, random.percent(50))
        });
        for name in 0..steps {
            if self.step(claim, &key, running.number, name).await.is_err() {
                return (running, Last::Fail, String::new());
            }
        }
        tokio::select! {
            biased;
            () = claim.lost(), if heeds_loss => return (running, Last::Fail, String::new()),
            () = sleep(works) => {}
        }
        let body = format!("run {} of {key}", running.number);
        (running, last, body)
    }

    /// The claim of a run counts as lost. That needs a reason: a link that failed, or a run that takes too long.
    fn note_lost(&self, number: usize, began: Duration) {
        let (world, process, now) = (&self.world, self.process, self.world.now());
        // A claim takes up to half a second.
        let too_long = now + Duration::from_millis(600) >= began + self.max_attempt;
        // Another run may have the key since the store lost its data.
        let forgotten = world.loss.is_some_and(|loss| loss <= now && now <= loss + 2 * LEASE);
        let reason = too_long || forgotten || !world.was_in_order(process, now.saturating_sub(LEASE), now);
        world.history(|history| {
            let Some(run) = history.runs.get_mut(number).filter(|run| run.died.is_none()) else { return };
            run.lost = Some(now);
            if !reason {
                history.faults.push(format!("{now:?}: run {number} lost its claim although nothing failed"));
            }
        });
    }

    async fn step(&self, claim: &Claim, key: &str, run: usize, name: u64) -> Result<String, StepError<Infallible>> {
        let effect = async || {
            let pause = self.world.random(|random| random.millis(0..400));
            sleep(pause).await;
            let at = self.world.now();
            let value = format!("{key} step-{name}@{}", at.as_micros());
            if !self.world.is_dead(self.process) {
                let step = Step { run, key: key.to_owned(), value: value.clone(), at };
                self.world.history(|history| history.steps.push(step));
            }
            Ok(value)
        };
        claim.step(&format!("step-{name}"), effect).await
    }
}

/// A run in the history. If it is dropped before its end, the history says so.
struct Running {
    service: Service,
    number: usize,
    ended: bool,
}

impl Running {
    fn begin(service: &Service, key: String, claim: &Claim) -> Self {
        let (world, process, began) = (&service.world, service.process, service.world.now());
        let dead = world.is_dead(process);
        let run = Run { process, key, recovering: claim.recovering(), began, ended: None, lost: None, died: None };
        let number = world.history(|history| {
            // What a dead process still does has no effect.
            if dead {
                return usize::MAX;
            }
            history.runs.push(run);
            history.runs.len() - 1
        });
        let (noting, claim) = (service.clone(), claim.clone());
        let listening = tokio::spawn(async move {
            claim.lost().await;
            noting.note_lost(number, began);
        });
        world.listening.lock().unwrap().push(listening.abort_handle());
        Self { service: service.clone(), number, ended: false }
    }

    fn panic(self) -> ! {
        self.end(End::Panicked, ());
        // Without the hook, which would print each.
        std::panic::resume_unwind(Box::new("an expected panic of a simulated handler"))
    }

    fn end<T>(mut self, end: End, response: T) -> T {
        self.note(end);
        response
    }

    fn note(&mut self, end: End) {
        self.ended = true;
        let Service { world, process, .. } = &self.service;
        let now = world.now();
        if !world.is_dead(*process) {
            world.history(|history| {
                if let Some(run) = history.runs.get_mut(self.number) {
                    run.ended = Some((now, end));
                }
            });
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.note(End::Dropped);
        }
    }
}
