//! The database that keeps the claims is killed, stands still, vanishes behind a dead network, refuses connections, or has
//! none left: before a handler runs, while it runs, and after it ended. The client has an answer within three seconds,
//! always, and the handler runs once.

mod support;

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
use idempotent_runtime::{
    Idempotency, Inspection, Outage, RequestName, SqlStore, Store, idempotent, store::ClaimOutcome,
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use support::{attempts::attempt, postgres::Postgres, proxy::Proxy};
use tokio::{sync::watch, time::sleep};
use tower::ServiceExt as _;

/// Claim or completion give up after half a second; the rest is for a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// What goes wrong, and is mended again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Stopped,
    Silent,
    Refused,
    OutOfConnections,
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

/// How many connections the service has.
const CONNECTIONS: u32 = 4;

/// A service on a Postgres behind a proxy.
struct Scene {
    server: Postgres,
    proxy: Proxy,
    pool: PgPool,
    /// The service's connections, when something else has taken them.
    taken: Vec<sqlx::pool::PoolConnection<sqlx::Postgres>>,
    router: Router,
    idempotency: Idempotency,
    runs: watch::Sender<u32>,
    gate: watch::Sender<bool>,
}

impl Scene {
    async fn new() -> Self {
        let server = tokio::task::block_in_place(Postgres::start);
        let proxy = Proxy::to(server.address()).await;
        let url = Postgres::url_at(proxy.address(), "postgres");
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&url).await.expect("a Postgres");
        let store = SqlStore::postgres(pool.clone());
        store.migrate().await.expect("a table");
        let idempotency = Idempotency::builder(store).namespace("faults").build();
        let (runs, gate) = (watch::Sender::default(), watch::Sender::new(true));
        let app = App { idempotency: idempotency.clone(), runs: runs.clone(), gate: gate.subscribe() };
        let router = Router::new().route("/", post(charge)).with_state(app);
        Self { server, proxy, pool, taken: Vec::new(), router, idempotency, runs, gate }
    }

    async fn breaks(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => tokio::task::block_in_place(|| self.server.crash()),
            Fault::Stopped => self.server.freeze(),
            Fault::Silent => self.proxy.go_silent(),
            Fault::Refused => self.proxy.refuse(),
            Fault::OutOfConnections => {
                for _ in 0..CONNECTIONS {
                    self.taken.push(self.pool.acquire().await.expect("a connection"));
                }
            }
        }
    }

    fn heals(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => tokio::task::block_in_place(|| self.server.restart()),
            Fault::Stopped => self.server.thaw(),
            Fault::Silent | Fault::Refused => self.proxy.pass(),
            Fault::OutOfConnections => self.taken.clear(),
        }
    }

    /// The status, and whether it is a replay.
    fn send(&self) -> impl Future<Output = (StatusCode, bool)> + Send + 'static {
        let router = self.router.clone();
        async move {
            let request = Request::post("/").header("idempotency-key", "k").body(Body::empty()).unwrap();
            let start = Instant::now();
            let response = router.oneshot(request).await.unwrap();
            assert!(start.elapsed() < ANSWERED_WITHIN, "{:?} for {}", start.elapsed(), response.status());
            (response.status(), response.headers().contains_key("idempotent-replayed"))
        }
    }

    /// As a client that is told to try again.
    async fn retried(&self) -> (StatusCode, bool) {
        let start = Instant::now();
        loop {
            let (status, replayed) = self.send().await;
            if status != StatusCode::SERVICE_UNAVAILABLE && status != StatusCode::CONFLICT {
                return (status, replayed);
            }
            assert!(start.elapsed() < Duration::from_secs(20), "still {status}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn begun(&self, runs: u32) {
        self.runs.subscribe().wait_for(|begun| *begun >= runs).await.unwrap();
    }

    fn count(&self) -> u32 {
        *self.runs.borrow()
    }

    /// Waits until the response that was sent is stored behind it.
    async fn stored(&self) {
        let name = RequestName::new(Method::POST, "/", "k");
        let start = Instant::now();
        while !matches!(self.idempotency.inspect(&name).await, Ok(Inspection::Finished { .. })) {
            assert!(start.elapsed() < Duration::from_secs(20), "it is not stored");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Nothing runs; a claim that takes effect when the server wakes is set free; the retry is a first one.
async fn before(fault: Fault) {
    let mut scene = Scene::new().await;
    scene.breaks(fault).await;
    for _ in 0..3 {
        assert_eq!(scene.send().await, (StatusCode::SERVICE_UNAVAILABLE, false));
    }
    assert_eq!(scene.count(), 0);
    scene.heals(fault);
    assert_eq!(scene.retried().await, (StatusCode::CREATED, false));
    assert_eq!(scene.retried().await, (StatusCode::CREATED, true));
    assert_eq!(scene.count(), 1);
}

/// The client has the real response, and it is stored behind it.
async fn during(fault: Fault) {
    let mut scene = Scene::new().await;
    scene.gate.send_replace(false);
    let first = tokio::spawn(scene.send());
    scene.begun(1).await;
    scene.breaks(fault).await;
    scene.gate.send_replace(true);
    let asked = Instant::now();
    // The handler's own time counts too, so the limit is looked at again from here.
    assert_eq!(first.await.unwrap(), (StatusCode::CREATED, false));
    assert!(asked.elapsed() < ANSWERED_WITHIN, "{:?}", asked.elapsed());
    assert_eq!(scene.send().await, (StatusCode::SERVICE_UNAVAILABLE, false));
    scene.heals(fault);
    scene.stored().await;
    assert_eq!(scene.retried().await, (StatusCode::CREATED, true));
    assert_eq!(scene.count(), 1);
}

/// A retry is refused while nobody can know, and replayed when the database is back.
async fn after(fault: Fault) {
    let mut scene = Scene::new().await;
    assert_eq!(scene.send().await, (StatusCode::CREATED, false));
    scene.breaks(fault).await;
    for _ in 0..3 {
        assert_eq!(scene.send().await, (StatusCode::SERVICE_UNAVAILABLE, false));
    }
    scene.heals(fault);
    assert_eq!(scene.retried().await, (StatusCode::CREATED, true));
    assert_eq!(scene.count(), 1);
}

macro_rules! phases {
    ($($fault:ident: $before:ident, $during:ident, $after:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $before() {
            before(Fault::$fault).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $during() {
            during(Fault::$fault).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $after() {
            after(Fault::$fault).await;
        }
    )+};
}
phases! {
    Killed: killed_before_a_handler, killed_during_a_handler, killed_after_a_handler;
    Stopped: stopped_before_a_handler, stopped_during_a_handler, stopped_after_a_handler;
    Silent: unreachable_before_a_handler, unreachable_during_a_handler, unreachable_after_a_handler;
    Refused: refused_before_a_handler, refused_during_a_handler, refused_after_a_handler;
    OutOfConnections: out_of_connections_before_a_handler, out_of_connections_during_a_handler,
        out_of_connections_after_a_handler;
}

/// The store is the journal as well, and a journal that cannot be read would refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_may_run_unprotected_does_so_while_the_database_is_away() {
    let mut scene = Scene::new().await;
    let store = SqlStore::postgres(scene.pool.clone());
    let idempotency = Idempotency::builder(store).namespace("faults").outage(Outage::RunUnprotected).build();
    let app = App { idempotency, runs: scene.runs.clone(), gate: scene.gate.subscribe() };
    scene.router = Router::new().route("/", post(charge)).with_state(app);
    scene.breaks(Fault::Refused).await;
    assert_eq!(scene.send().await, (StatusCode::CREATED, false));
    scene.heals(Fault::Refused);
    scene.stored().await;
    assert_eq!(scene.send().await, (StatusCode::CREATED, true));
    assert_eq!(scene.count(), 1);
}

/// sqlx would ask a silent server whether a connection that was dropped in the middle is still good, for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_given_up_takes_no_place_in_the_pool() {
    let proxy = Proxy::to(Postgres::shared().address()).await;
    let url = Postgres::url_at(proxy.address(), &Postgres::shared().database().await);
    let pool = PgPoolOptions::new().max_connections(2).test_before_acquire(false).connect(&url).await.expect("a pool");
    let store = SqlStore::postgres(pool.clone()).clean_up_by_hand();
    store.migrate().await.expect("a table");
    let both = (pool.acquire().await.expect("one"), pool.acquire().await.expect("two"));
    drop(both);
    sleep(Duration::from_millis(200)).await;
    proxy.go_silent();
    for _ in 0..3 {
        let given_up = tokio::time::timeout(Duration::from_millis(300), store.claim(&attempt())).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }
    proxy.pass();
    let claimed = tokio::time::timeout(Duration::from_secs(20), store.claim(&attempt())).await;
    assert!(matches!(claimed, Ok(Ok(ClaimOutcome::Acquired(_)))), "{claimed:?}");
}
