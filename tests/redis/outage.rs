//! Redis dies, freezes or cannot be reached over the network. A call always ends in well under a second. Redis is used
//! again soon after it is back, and nothing has to be restarted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    RedisStore, StoreError,
    store::{ClaimOutcome, Lookup, ReleaseOutcome},
};
use support::{
    attempts::{attempt, rival, served_again, warm_up, win},
    proxy::Proxy,
    redis_server::RedisServer,
    redis_store::{PATIENCE, hasty, patient},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

/// The response timeout is 250 ms, the connect timeout 300 ms.
const WELL_UNDER_A_SECOND: Duration = Duration::from_millis(800);

/// For what takes well under a second, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// Checks that claims fail one after the other, and that none of them takes long. A busy machine may delay any one of
/// them, so only the fastest has to be as fast as the timeouts say.
async fn fail_fast(store: &RedisStore, claims: usize) -> Vec<StoreError> {
    let mut fastest = Duration::MAX;
    let mut errors = Vec::new();
    for _ in 0..claims {
        let start = Instant::now();
        let answer = store.claim(&attempt()).await;
        let took = start.elapsed();
        assert!(took < SOON, "{took:?} for {answer:?}");
        fastest = fastest.min(took);
        errors.push(answer.expect_err("nobody can have answered"));
    }
    assert!(fastest < WELL_UNDER_A_SECOND, "{fastest:?} for each of {errors:?}");
    errors
}

/// Waits until the store is used again.
async fn is_used_again(store: &RedisStore) {
    let recovered = served_again(async || store.claim(&attempt()).await).await;
    println!("served again after {recovered:?}");
    assert!(recovered < 2 * SOON, "served again only after {recovered:?}");
}

#[tokio::test]
async fn killed_and_back() {
    let mut server = RedisServer::start();
    // Nothing of this waits for a timeout.
    let store = patient().connect(&server.url()).await.expect("connects");
    // A short outage, and one that is long enough for the tries to connect to have become rare.
    for outage in [Duration::ZERO, Duration::from_millis(1_500)] {
        server.kill();
        for error in fail_fast(&store, 5).await {
            assert!(matches!(error, StoreError::Unreachable(_) | StoreError::Down(_)), "{error:?}");
        }
        sleep(outage).await;
        server.restart();
        is_used_again(&store).await;
        // The scripts are lost with the process, and are loaded again.
        warm_up(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_do_not_wait_one_by_one() {
    let mut server = RedisServer::start();
    let store = Arc::new(patient().connect(&server.url()).await.expect("connects"));
    server.kill();
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..1_000 {
        let store = Arc::clone(&store);
        calls.spawn(async move { store.claim(&attempt()).await.expect_err("nobody is there") });
    }
    calls.join_all().await;
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[tokio::test]
async fn refused_connections_are_tried_again_but_not_by_every_call() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.address()).await;
    let store = patient().connect(&proxy.redis_url()).await.expect("connects");
    proxy.refuse();
    store.claim(&attempt()).await.expect_err("it is refused");
    let (before, start) = (proxy.connections(), Instant::now());
    fail_fast(&store, 1_000).await;
    sleep(Duration::from_millis(500)).await;
    let tried = proxy.connections() - before;
    // Five a second, and some more at first.
    let most = 60 + 10 * usize::try_from(start.elapsed().as_secs()).expect("some seconds");
    assert!((1..=most).contains(&tried), "{tried} connections for 1000 calls");
    proxy.pass();
    is_used_again(&store).await;
}

#[tokio::test]
async fn frozen_and_thawed() {
    let server = RedisServer::start();
    let store = hasty(&server.url()).await;
    server.freeze();
    let errors = fail_fast(&store, 11).await;
    assert!(matches!(errors[0], StoreError::Timeout), "{errors:?}");
    server.thaw();
    is_used_again(&store).await;
}

/// A claim whose caller has given up takes effect when the server wakes. With its token it can be found and released.
#[tokio::test]
async fn ghost_claim_is_released_by_its_token() {
    let server = RedisServer::start();
    let (gives_up, store) = (hasty(&server.url()).await, patient().connect(&server.url()).await.expect("connects"));
    let ghost = attempt();
    server.freeze();
    assert!(matches!(gives_up.claim(&ghost).await, Err(StoreError::Timeout)));
    server.thaw();
    let start = Instant::now();
    while store.lookup(&ghost.key).await.expect("answers") == Lookup::Absent {
        assert!(start.elapsed() < 2 * PATIENCE, "the claim had no effect");
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(store.release(&rival(&ghost)).await.expect("answers"), ReleaseOutcome::NotOurs);
    assert_eq!(store.release(&ghost).await.expect("answers"), ReleaseOutcome::Ended);
    win(&store, &rival(&ghost)).await;
}

#[tokio::test]
async fn black_hole_heals() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.address()).await;
    let store = hasty(&proxy.redis_url()).await;
    proxy.go_silent();
    fail_fast(&store, 8).await;
    proxy.pass();
    is_used_again(&store).await;
}

/// The network works again, but the connection that lost packets does not. The only sign of this is that no answer
/// comes.
#[tokio::test]
async fn a_connection_that_stays_silent_is_replaced() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.address()).await;
    let store = hasty(&proxy.redis_url()).await;
    let before = proxy.connections();
    proxy.go_silent();
    store.claim(&attempt()).await.expect_err("nobody answers");
    proxy.pass();
    is_used_again(&store).await;
    assert!(proxy.connections() > before, "it has another one");
}

/// As above, when no call waits as long as the store itself would.
#[tokio::test]
async fn a_silent_connection_is_replaced_for_impatient_callers() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.address()).await;
    let store = hasty(&proxy.redis_url()).await;
    proxy.go_silent();
    for _ in 0..3 {
        timeout(Duration::from_millis(50), store.claim(&attempt())).await.expect_err("nobody answers");
    }
    proxy.pass();
    is_used_again(&store).await;
}

#[tokio::test]
async fn slow_answers_are_waited_for_up_to_the_timeout() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.address()).await;
    let store = patient().connect(&proxy.redis_url()).await.expect("connects");
    proxy.delay(Duration::from_millis(400));
    win(&store, &attempt()).await;
    assert_eq!(proxy.connections(), 1, "slow is not dead");
}

/// The server closes a connection while no call uses it. The next call gets another connection, and no error.
#[tokio::test]
async fn idle_connection_closed_by_the_server() {
    let server = RedisServer::start();
    let store = patient().connect(&server.url()).await.expect("connects");
    for _ in 0..3 {
        server.set(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        // The store's, and the one that asks.
        let start = Instant::now();
        while server.cli(&["CLIENT", "LIST"]).lines().count() < 2 {
            assert!(start.elapsed() < 2 * PATIENCE, "it does not connect again");
            sleep(Duration::from_millis(10)).await;
        }
        win(&store, &attempt()).await;
    }
}

/// A store still works when the runtime that it was connected in is gone.
#[test]
fn used_from_another_runtime() {
    let server = RedisServer::start();
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let first = runtime();
    let store = first.block_on(hasty(&server.url()));
    drop(first);
    runtime().block_on(is_used_again(&store));
}

#[tokio::test]
async fn dropped_calls_leave_the_connection_in_order() {
    let server = RedisServer::start();
    let store = patient().connect(&server.url()).await.expect("connects");
    let first = attempt();
    for micros in 0..300 {
        let _ = timeout(Duration::from_micros(micros), store.claim(&first)).await;
        // A leftover answer to the dropped call would be taken for the answer to this one.
        assert_eq!(store.lookup(&attempt().key).await.expect("answers"), Lookup::Absent);
    }
    assert!(matches!(store.claim(&rival(&first)).await, Ok(ClaimOutcome::Running { .. })));
}
