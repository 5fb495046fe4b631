//! A service whose store fails: before a handler runs, while it runs, and after it ended.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, State},
    http::{Method, Request, StatusCode},
    routing::post,
};
use idempotent_runtime::{Idempotency, Inspection, RequestName, idempotent};
use tokio::{sync::watch, time::sleep};
use tower::ServiceExt as _;

/// A claim or a completion gives up after half a second. The rest is for a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// What must come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server of a store, and the connection to it.
pub trait Breakable {
    /// The faults that can be caused and repaired.
    type Fault: Copy;

    /// Causes a fault.
    fn breaks(&mut self, fault: Self::Fault) -> impl Future<Output = ()>;
    /// Repairs it.
    fn heals(&mut self, fault: Self::Fault);
}

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    runs: watch::Sender<u32>,
    gate: watch::Receiver<bool>,
}

#[idempotent(ttl = "1h", lease = "30s")]
async fn charge(State(runs): State<watch::Sender<u32>>, State(mut gate): State<watch::Receiver<bool>>) -> StatusCode {
    runs.send_modify(|runs| *runs += 1);
    let _ = gate.wait_for(|open| *open).await;
    StatusCode::CREATED
}

/// A service with one handler, and its store.
pub struct Scene<S> {
    /// The store whose server fails.
    pub store: S,
    router: Router,
    idempotency: Idempotency,
    runs: watch::Sender<u32>,
    /// The handler waits until this is `true`.
    pub gate: watch::Sender<bool>,
}

impl<S> Scene<S> {
    /// A service without a fault yet.
    pub fn new(store: S, idempotency: Idempotency) -> Self {
        let (runs, gate) = (watch::Sender::default(), watch::Sender::new(true));
        let app = App { idempotency: idempotency.clone(), runs: runs.clone(), gate: gate.subscribe() };
        Self { store, router: Router::new().route("/", post(charge)).with_state(app), idempotency, runs, gate }
    }

    /// Sends the request, and returns the status and whether the answer is a replay. The answer comes in time.
    pub fn send(&self) -> impl Future<Output = (StatusCode, bool)> + Send + 'static {
        let router = self.router.clone();
        async move {
            let start = Instant::now();
            let (status, replayed) = send(router).await;
            assert!(start.elapsed() < ANSWERED_WITHIN, "{:?} for {status}", start.elapsed());
            (status, replayed)
        }
    }

    /// Sends the request until it is answered, as a client does that is told to try again.
    pub fn retried(&self) -> impl Future<Output = (StatusCode, bool)> + Send + 'static {
        let (router, start) = (self.router.clone(), Instant::now());
        async move {
            loop {
                let (status, replayed) = send(router.clone()).await;
                if status != StatusCode::SERVICE_UNAVAILABLE && status != StatusCode::CONFLICT {
                    return (status, replayed);
                }
                assert!(start.elapsed() < PATIENCE, "still {status}");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Waits until the handler has begun this many times.
    pub async fn begun(&self, runs: u32) {
        self.runs.subscribe().wait_for(|begun| *begun >= runs).await.unwrap();
    }

    /// How many times the handler has begun.
    pub fn count(&self) -> u32 {
        *self.runs.borrow()
    }

    /// Waits until the response is stored, which may happen after it was sent.
    pub async fn stored(&self) {
        let name = RequestName::new(Method::POST, "/", "k");
        let start = Instant::now();
        while !matches!(self.idempotency.inspect(&name).await, Ok(Inspection::Finished { .. })) {
            assert!(start.elapsed() < PATIENCE, "it is not stored");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn send(router: Router) -> (StatusCode, bool) {
    let request = Request::post("/").header("idempotency-key", "k").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    (response.status(), response.headers().contains_key("idempotent-replayed"))
}

/// No handler runs. A claim that takes effect when the server is back is released, so the retry is a first request.
pub async fn before<S: Breakable>(mut scene: Scene<S>, fault: S::Fault) {
    scene.store.breaks(fault).await;
    for _ in 0..3 {
        assert_eq!(scene.send().await, (StatusCode::SERVICE_UNAVAILABLE, false));
    }
    assert_eq!(scene.count(), 0);
    scene.store.heals(fault);
    assert_eq!(scene.retried().await, (StatusCode::CREATED, false));
    assert_eq!(scene.retried().await, (StatusCode::CREATED, true));
    assert_eq!(scene.count(), 1);
}

/// The client gets the real response, which is stored afterwards.
pub async fn during<S: Breakable>(mut scene: Scene<S>, fault: S::Fault) {
    scene.gate.send_replace(false);
    let first = tokio::spawn(scene.retried());
    scene.begun(1).await;
    scene.store.breaks(fault).await;
    scene.gate.send_replace(true);
    let asked = Instant::now();
    assert_eq!(first.await.unwrap(), (StatusCode::CREATED, false));
    assert!(asked.elapsed() < ANSWERED_WITHIN, "{:?}", asked.elapsed());
    assert_eq!(scene.send().await, (StatusCode::SERVICE_UNAVAILABLE, false));
    scene.store.heals(fault);
    scene.stored().await;
    assert_eq!(scene.retried().await, (StatusCode::CREATED, true));
    assert_eq!(scene.count(), 1);
}

/// A retry is refused while the store cannot be asked, and replayed when the store is back.
pub async fn after<S: Breakable>(mut scene: Scene<S>, fault: S::Fault) {
    assert_eq!(scene.retried().await, (StatusCode::CREATED, false));
    scene.store.breaks(fault).await;
    for _ in 0..3 {
        assert_eq!(scene.send().await, (StatusCode::SERVICE_UNAVAILABLE, false));
    }
    scene.store.heals(fault);
    assert_eq!(scene.retried().await, (StatusCode::CREATED, true));
    assert_eq!(scene.count(), 1);
}

/// Makes a test for each fault and each phase. The caller has `scene`, which makes a [`Scene`], and `Fault`.
#[macro_export]
macro_rules! phases {
    ($($fault:ident: $before:ident, $during:ident, $after:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $before() {
            $crate::faults::before(scene().await, Fault::$fault).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $during() {
            $crate::faults::during(scene().await, Fault::$fault).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $after() {
            $crate::faults::after(scene().await, Fault::$fault).await;
        }
    )+};
}
