//! A renewal is held up on a connection that the store has given up, and arrives when its attempt has ended. It must
//! not create again the key that the attempt has freed.

use idempotent_runtime::{
    RedisStore, Store, StoreError,
    store::{Acquired, ClaimRequest, Lookup, ReleaseOutcome, SaveOutcome},
};
use support::{
    attempts::{attempt, warm_up, win},
    proxy::Proxy,
    redis_server::RedisServer,
    wait_until,
};

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
        let store = RedisStore::connect(&proxy.redis_url()).await.expect("connects");
        warm_up(&store).await;
        let lost = attempt();
        store.renew(&lost, &Acquired::new(1, false)).await.expect("the scripts are known from now on");
        let first = attempt();
        let held = Acquired::new(win(&store, &first).await, false);
        server.set(&["DEL", first.key.as_str()]);
        Self { server, proxy, store, first, held }
    }

    /// The connection is given up after three calls without an answer, and the key is freed over another one.
    async fn is_freed_elsewhere(&self) {
        for _ in 0..3 {
            if self.store.lookup(&attempt().key).await.is_ok() {
                break;
            }
        }
        assert_eq!(self.store.release(&self.first).await.expect("a new connection"), ReleaseOutcome::NotOurs);
    }

    /// The key is freed over another connection. The command that was held up arrives after that, and the key stays
    /// free.
    async fn stays_free(&self) {
        self.is_freed_elsewhere().await;
        let calls = self.server.calls("evalsha");
        self.proxy.pass();
        wait_until("what was held up to arrive", || self.server.calls("evalsha") > calls);
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
    scene.proxy.hold_requests_after_an_answer();
    let renewed = scene.store.renew(&scene.first, &scene.held).await;
    assert!(matches!(renewed, Err(StoreError::Timeout)), "{renewed:?}");
    scene.stays_free().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_come_late_create_nothing() {
    let scene = Scene::new().await;
    scene.store.save_steps(&attempt(), 1, "steps".into()).await.expect("the script is known from now on");
    scene.proxy.hold_requests_after_an_answer();
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
