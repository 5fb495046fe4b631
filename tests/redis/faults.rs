//! Redis is killed, stands still, cannot be reached over the network, refuses connections or loads its data: before a
//! handler runs, while it runs, and after it ended. The client always gets an answer within three seconds, and the
//! handler runs once. Where the handler runs again, the name of the test says so.

use axum::http::StatusCode;
use idempotent_runtime::Idempotency;
use support::{
    faults::{Breakable, Scene},
    phases,
    proxy::Proxy,
    redis_server::RedisServer,
    redis_store::hasty,
    wait_until,
};

#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Stopped,
    Silent,
    Refused,
}

/// A Redis behind a proxy.
struct Redis {
    server: RedisServer,
    proxy: Proxy,
}

impl Breakable for Redis {
    type Fault = Fault;

    async fn breaks(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => self.server.kill(),
            Fault::Stopped => self.server.freeze(),
            Fault::Silent => self.proxy.go_silent(),
            Fault::Refused => self.proxy.refuse(),
        }
    }

    fn heals(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => self.server.restart(),
            Fault::Stopped => self.server.thaw(),
            Fault::Silent | Fault::Refused => self.proxy.pass(),
        }
    }
}

/// A service on a Redis that writes every change to its disk before it answers.
async fn scene() -> Scene<Redis> {
    on(RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"])).await
}

async fn on(server: RedisServer) -> Scene<Redis> {
    let proxy = Proxy::to(server.address()).await;
    let store = hasty(&proxy.redis_url()).await;
    let idempotency = Idempotency::builder(store).namespace("faults").build();
    Scene::new(Redis { server, proxy }, idempotency)
}

phases! {
    Killed: killed_before_a_handler, killed_during_a_handler, killed_after_a_handler;
    Stopped: stopped_before_a_handler, stopped_during_a_handler, stopped_after_a_handler;
    Silent: unreachable_before_a_handler, unreachable_during_a_handler, unreachable_after_a_handler;
    Refused: refused_before_a_handler, refused_during_a_handler, refused_after_a_handler;
}

/// Meanwhile Redis accepts connections, tells the time, and answers everything else with LOADING.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_loads_its_data_requests_are_refused_and_then_replayed() {
    let slowly = ["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"];
    let mut scene = on(RedisServer::start_with(&slowly)).await;
    assert_eq!(scene.retried().await, (StatusCode::CREATED, false));
    for number in 0..400 {
        scene.store.server.set(&["SET", &format!("filler:{number}"), &"x".repeat(500)]);
    }
    scene.store.server.set(&["SAVE"]);
    scene.store.server.restart_while_it_loads();
    wait_until("it to load", || scene.store.server.command(&["GET", "x"]).starts_with("-LOADING"));
    for _ in 0..3 {
        assert_eq!(scene.send().await, (StatusCode::SERVICE_UNAVAILABLE, false));
    }
    assert!(scene.store.server.command(&["GET", "x"]).starts_with("-LOADING"), "it was loading all along");
    assert_eq!(scene.retried().await, (StatusCode::CREATED, true));
    assert_eq!(scene.count(), 1);
}

/// A known limit: without a file on its disk Redis loses what it acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_without_a_file_it_forgets_and_a_retry_runs_again() {
    let mut scene = on(RedisServer::start()).await;
    assert_eq!(scene.retried().await, (StatusCode::CREATED, false));
    scene.store.server.kill();
    scene.store.server.restart();
    assert_eq!(scene.retried().await, (StatusCode::CREATED, false));
    assert_eq!(scene.count(), 2);
}

/// The claim of a running attempt is not lost for good: the heartbeat and the completion create the record again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_without_a_file_during_a_handler_its_response_is_kept() {
    let mut scene = on(RedisServer::start()).await;
    scene.gate.send_replace(false);
    let first = tokio::spawn(scene.send());
    scene.begun(1).await;
    scene.store.server.kill();
    scene.store.server.restart();
    scene.gate.send_replace(true);
    assert_eq!(first.await.unwrap(), (StatusCode::CREATED, false));
    scene.stored().await;
    assert_eq!(scene.retried().await, (StatusCode::CREATED, true));
    assert_eq!(scene.count(), 1);
}
