//! A client of a simulation: it sends one request with one key, hangs up now and then, and retries.

use std::{
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio::time::sleep;
use tower::ServiceExt as _;

use crate::{history::Answer, world::World};

/// The longest time in which every request is answered: a wait, the longest handler and what comes after it.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a client hangs up.
#[derive(Clone, Copy)]
enum HangUp {
    Never,
    After(Duration),
    /// After so many steps of the service, however little time they take.
    AfterSteps(u64),
}

/// Sends the request to one process after the other, until it is answered or the tries are used up.
pub(crate) async fn client(world: Arc<World>, processes: Arc<Vec<Router>>, path: &'static str, key: String) {
    let (start, tries) = world.random(|random| (random.millis(0..50_000), 1 + random.below(6)));
    sleep(start).await;
    for _ in 0..tries {
        let living = world.living(processes.len());
        if living.is_empty() {
            return;
        }
        let (process, hang_up, pause) = world.random(|random| {
            let hang_up = match random.below(4) {
                0 => HangUp::After(random.millis(0..3_000)),
                1 => HangUp::AfterSteps(random.below(12)),
                _ => HangUp::Never,
            };
            (*random.pick(&living), hang_up, random.millis(0..2_500))
        });
        let answered = tokio::select! {
            biased;
            () = world.death(process) => None,
            answered = world.unless_blocked(process, until(hang_up, send(&world, &processes[process], path, &key, 1)))
                => answered,
        };
        if answered.is_some_and(|status| status == 201) {
            return;
        }
        sleep(if world.loss.is_some() { pause / 4 } else { pause }).await;
    }
}

/// Sends a request, and hangs up at once or soon.
pub(crate) async fn hang_up(world: &World, process: &Router, path: &str, key: &str) {
    let hang_up = world.random(|random| match random.below(2) {
        0 => HangUp::After(random.millis(0..40)),
        _ => HangUp::AfterSteps(random.below(6)),
    });
    until(hang_up, send(world, process, path, key, 1)).await;
}

/// Polls the request until the client hangs up.
async fn until(hang_up: HangUp, request: impl Future<Output = Option<u16>>) -> Option<u16> {
    match hang_up {
        HangUp::Never => request.await,
        HangUp::After(time) => tokio::time::timeout(time, request).await.ok().flatten(),
        HangUp::AfterSteps(mut steps) => {
            let mut request = pin!(request);
            poll_fn(|context| {
                if steps == 0 {
                    return Poll::Ready(None);
                }
                steps -= 1;
                request.as_mut().poll(context)
            })
            .await
        }
    }
}

/// Sends one request with a body of this length, and notes the answer. `None` if the handler panicked or the body
/// broke off.
pub(crate) async fn send(world: &World, process: &Router, path: &str, key: &str, length: usize) -> Option<u16> {
    let request = Request::post(path).header("idempotency-key", key).body(Body::from(vec![b'x'; length])).unwrap();
    let answered = AssertUnwindSafe(process.clone().oneshot(request)).catch_unwind();
    let Ok(answered) = tokio::time::timeout(PATIENCE, answered).await else {
        let now = world.now();
        world.history(|history| history.faults.push(format!("{now:?}: {path} {key} got no answer in {PATIENCE:?}")));
        return None;
    };
    let (parts, body) = answered.ok()?.unwrap().into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    let answer = Answer {
        key: format!("{path} {key}"),
        status: parts.status.as_u16(),
        replayed: parts.headers.contains_key("idempotent-replayed"),
        body: String::from_utf8_lossy(&body).into_owned(),
        at: world.now(),
    };
    world.history(|history| history.answers.push(answer));
    Some(parts.status.as_u16())
}
