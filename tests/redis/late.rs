//! A command is held up on a connection that the store has given up, and arrives when its attempt has gone on or has
//! ended. It must undo nothing that its attempt did later, and must not create again the key that the attempt has freed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::FromRef, extract::State, http::Request, http::StatusCode, routing::post};
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    Claim, Idempotency, RedisStore, StoreError, idempotent,
    store::{Acquired, ClaimOutcome, ClaimRequest, Lookup, ReleaseOutcome, SaveOutcome},
};
use support::{
    attempts::{attempt, dead, rival, warm_up, win},
    proxy::Proxy,
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
    wait_until,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tower::ServiceExt as _;

/// So that no call needs a round trip more because its script is not there yet.
async fn every_script_is_known(server: &RedisServer) {
    let store = patient().connect(&server.url()).await.expect("connects");
    warm_up(&store).await;
    store.renew(&attempt(), &Acquired::new(1, false)).await.expect("answers");
    store.save_steps(&attempt(), 1, "steps".into()).await.expect("answers");
}

/// A call without an answer ends after this time.
async fn store_behind(proxy: &Proxy, response_timeout: Duration) -> RedisStore {
    patient().response_timeout(response_timeout).connect(&proxy.redis_url()).await.expect("connects")
}

struct Scene {
    server: RedisServer,
    proxy: Proxy,
    store: RedisStore,
    first: ClaimRequest,
    held: Acquired,
}

impl Scene {
    /// A claim that the server has lost, so that a renewal would create it again.
    async fn new() -> Self {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.address()).await;
        every_script_is_known(&server).await;
        let store = store_behind(&proxy, Duration::from_secs(1)).await;
        let first = attempt();
        let held = Acquired::new(win(&store, &first).await, false);
        server.set(&["DEL", first.key.as_str()]);
        Self { server, proxy, store, first, held }
    }

    /// The connection is given up after three calls without an answer. A later call has another one.
    async fn goes_on_elsewhere(&self) {
        // These calls are given up sooner than the store would do it, which saves time.
        let lookup = async || timeout(Duration::from_millis(100), self.store.lookup(&attempt().key)).await;
        let start = Instant::now();
        while !matches!(lookup().await, Ok(Ok(_))) {
            assert!(start.elapsed() < Duration::from_secs(30), "there is no other connection");
        }
    }

    /// What was held up arrives, and the server has executed it.
    fn arrives(&self) {
        let calls = || ["evalsha", "set"].map(|command| self.server.calls(command)).iter().sum::<u64>();
        let before = calls();
        self.proxy.pass();
        wait_until("what was held up to arrive", || calls() > before);
    }

    /// The key is freed over another connection.
    async fn is_freed_elsewhere(&self) {
        self.goes_on_elsewhere().await;
        assert_eq!(self.store.release(&self.first).await.expect("a new connection"), ReleaseOutcome::NotOurs);
    }

    /// The key is freed over another connection. The command that was held up arrives after that, and the key stays
    /// free.
    async fn stays_free(&self) {
        self.is_freed_elsewhere().await;
        self.arrives();
        assert_eq!(self.store.lookup(&self.first.key).await.expect("answers"), Lookup::Absent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_comes_late_creates_nothing() {
    let scene = Scene::new().await;
    scene.proxy.hold_requests();
    let renewed = scene.store.renew(&scene.first, &scene.held).await;
    assert!(matches!(renewed, Err(StoreError::Timeout)), "{renewed:?}");
    scene.stays_free().await;
}

/// The renewal has already seen that the claim is lost. Only the command that would create the claim again is held up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_comes_late_creates_nothing() {
    let scene = Scene::new().await;
    scene.proxy.hold_requests_after(1);
    let renewed = scene.store.renew(&scene.first, &scene.held).await;
    assert!(matches!(renewed, Err(StoreError::Timeout)), "{renewed:?}");
    scene.stays_free().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_come_late_create_nothing() {
    let scene = Scene::new().await;
    scene.proxy.hold_requests_after(1);
    let saved = scene.store.save_steps(&scene.first, scene.held.fence, "steps".into()).await;
    assert!(matches!(saved, Err(StoreError::Timeout)), "{saved:?}");
    scene.stays_free().await;
}

/// A command that is not late creates the claim again: a restart of Redis ends no claim whose attempt is alive.
#[tokio::test]
async fn a_lost_claim_is_created_again_in_time() {
    let scene = Scene::new().await;
    scene.store.renew(&scene.first, &scene.held).await.expect("answers");
    assert!(matches!(scene.store.lookup(&scene.first.key).await, Ok(Lookup::Running { .. })));
    scene.server.set(&["DEL", scene.first.key.as_str()]);
    let saved = scene.store.save_steps(&scene.first, scene.held.fence, "steps".into()).await.expect("answers");
    assert_eq!(saved, SaveOutcome::Saved);
    assert!(matches!(scene.store.lookup(&scene.first.key).await, Ok(Lookup::Running { .. })));
}

/// A claim that stands, and a renewal of it that is held up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_comes_late_revives_no_abandoned_lease() {
    let scene = Scene::new().await;
    let held = Acquired::new(win(&scene.store, &scene.first).await, false);
    scene.proxy.hold_requests();
    let renewed = scene.store.renew(&scene.first, &held).await;
    assert!(matches!(renewed, Err(StoreError::Timeout)), "{renewed:?}");
    scene.goes_on_elsewhere().await;
    assert_eq!(scene.store.abandon(&scene.first).await.expect("a new connection"), ReleaseOutcome::Ended);
    scene.arrives();
    let next = scene.store.claim(&rival(&scene.first)).await.expect("answers");
    assert!(matches!(next, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{next:?}");
}

/// A claim without an answer is repeated over another connection, and released there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_comes_late_takes_no_released_key() {
    let scene = Scene::new().await;
    scene.proxy.hold_requests();
    let claimed = scene.store.claim(&scene.first).await;
    assert!(matches!(claimed, Err(StoreError::Timeout)), "{claimed:?}");
    scene.goes_on_elsewhere().await;
    win(&scene.store, &scene.first).await;
    assert_eq!(scene.store.release(&scene.first).await.expect("a new connection"), ReleaseOutcome::Ended);
    scene.arrives();
    win(&scene.store, &rival(&scene.first)).await;
}

/// The same for a claim that never got an answer: its release comes before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_comes_after_its_release_takes_no_key() {
    let scene = Scene::new().await;
    scene.proxy.hold_requests();
    let claimed = scene.store.claim(&scene.first).await;
    assert!(matches!(claimed, Err(StoreError::Timeout)), "{claimed:?}");
    scene.goes_on_elsewhere().await;
    scene.store.release(&scene.first).await.expect("a new connection");
    scene.arrives();
    win(&scene.store, &rival(&scene.first)).await;
}

/// A known limit: the record that a takeover replaces is still there when the attempt gives its unanswered takeover up. So
/// the takeover finds what it expects when it arrives. Nobody renews that lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_that_comes_after_its_release_blocks_the_key_for_one_lease() {
    let scene = Scene::new().await;
    let mut second = rival(&dead(&scene.store).await);
    second.lease = Duration::from_secs(3);
    // It sends the claim, reads the record, and then takes it over.
    scene.proxy.hold_requests_after(2);
    let taken = scene.store.claim(&second).await;
    assert!(matches!(taken, Err(StoreError::Timeout)), "{taken:?}");
    scene.goes_on_elsewhere().await;
    assert_eq!(scene.store.release(&second).await.expect("a new connection"), ReleaseOutcome::NotOurs);
    scene.arrives();
    let third = rival(&second);
    let mut met = scene.store.claim(&third).await.expect("answers");
    assert!(matches!(met, ClaimOutcome::Running { .. }), "{met:?}");
    while let ClaimOutcome::Running { left } = met {
        sleep(left).await;
        met = scene.store.claim(&third).await.expect("answers");
    }
    assert!(matches!(met, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{met:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_come_late_replace_no_later_ones() {
    let scene = Scene::new().await;
    let fence = win(&scene.store, &scene.first).await;
    let save = async |steps: &'static str| scene.store.save_steps(&scene.first, fence, steps.into()).await;
    assert_eq!(save("one").await.expect("answers"), SaveOutcome::Saved);
    scene.proxy.hold_requests();
    let saved = save("one, two").await;
    assert!(matches!(saved, Err(StoreError::Timeout)), "{saved:?}");
    scene.goes_on_elsewhere().await;
    assert_eq!(save("one, two, three").await.expect("answers"), SaveOutcome::Saved);
    scene.store.abandon(&scene.first).await.expect("answers");
    scene.arrives();
    match scene.store.claim(&rival(&scene.first)).await.expect("answers") {
        ClaimOutcome::Acquired(next) => assert_eq!(&next.steps[..], b"one, two, three"),
        other => panic!("{other:?}"),
    }
}

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    effects: watch::Sender<[u32; 3]>,
    proxy: Arc<Proxy>,
}

/// Three steps, then a failure of the first attempt. What the first attempt saves after its second step is held up.
#[idempotent(ttl = "1h")]
async fn three_steps(
    claim: Claim,
    State(effects): State<watch::Sender<[u32; 3]>>,
    State(proxy): State<Arc<Proxy>>,
) -> StatusCode {
    let first = *effects.borrow() == [0, 0, 0];
    for (number, name) in ["one", "two", "three"].into_iter().enumerate() {
        let step = async || {
            effects.send_modify(|effects| effects[number] += 1);
            if first && name == "two" {
                proxy.hold_requests();
            }
            Ok::<_, StatusCode>(number)
        };
        claim.step(name, step).await.expect("the claim stands");
    }
    if first { StatusCode::BAD_GATEWAY } else { StatusCode::CREATED }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_effect_of_a_step_happens_once_when_an_older_save_comes_late() {
    let server = RedisServer::start();
    let proxy = Arc::new(Proxy::to(server.address()).await);
    every_script_is_known(&server).await;
    // Shorter than the time within which the engine repeats a save.
    let store = store_behind(&proxy, Duration::from_millis(200)).await;
    let idempotency = Idempotency::builder(store).namespace("late").store_timeout(PATIENCE).build();
    let effects = watch::Sender::default();
    let app = App { idempotency, effects: effects.clone(), proxy: Arc::clone(&proxy) };
    let router = Router::new().route("/", post(three_steps)).with_state(app);
    let send = async || {
        let request = Request::post("/").header("idempotency-key", "k").body(Body::empty()).expect("a request");
        router.clone().oneshot(request).await.expect("infallible").status()
    };
    assert_eq!(send().await, StatusCode::BAD_GATEWAY);
    let calls = server.calls("evalsha");
    proxy.pass();
    wait_until("what was held up to arrive", || server.calls("evalsha") > calls);
    assert_eq!(send().await, StatusCode::CREATED);
    assert_eq!(*effects.borrow(), [1, 1, 1]);
}
