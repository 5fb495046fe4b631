//! The server answers but refuses to write: requests with a known key are still answered, and no new attempt begins.

use std::time::{Duration, Instant};

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    RedisStore, StoreError, Takeover,
    store::{Acquired, ClaimOutcome, CompleteOutcome, Lookup, ReleaseOutcome, RenewOutcome},
};
use support::{
    attempts::{attempt, rival, warm_up, win},
    keys::Keys,
    proxy::Proxy,
    redis_server::RedisServer,
    redis_store::patient,
};

/// Loads every script into the server beforehand, so that no call is refused because its script is not there yet.
async fn warm_up_and_make_keys(store: &RedisStore) -> Keys {
    warm_up(store).await;
    Keys::on(store).await
}

#[tokio::test]
async fn out_of_memory() {
    let server = RedisServer::start();
    let store = patient().connect(&server.url()).await.expect("connects");
    let keys = warm_up_and_make_keys(&store).await;
    let freed = attempt();
    win(&store, &freed).await;
    server.set(&["CONFIG", "SET", "maxmemory", "1"]);

    keys.are_answered(&store).await;
    let new = store.claim(&attempt()).await;
    assert!(matches!(new, Err(StoreError::Full(what)) if what.contains("maxmemory")), "{new:?}");

    // An attempt that already has its claim can go on to its end.
    let Keys { running, fence, .. } = &keys;
    assert_eq!(store.claim(running).await.expect("answers"), ClaimOutcome::Acquired(Acquired::new(*fence, false)));
    assert_eq!(store.renew(running, &Acquired::new(*fence, false)).await.expect("answers"), RenewOutcome::Renewed);
    let large = vec![b'x'; 100_000];
    assert_eq!(store.complete(running, *fence, large.clone().into()).await.expect("answers"), CompleteOutcome::Stored);
    assert_eq!(store.claim(&rival(running)).await.expect("answers"), ClaimOutcome::Done(large.into()));
    assert_eq!(store.complete(&attempt(), 1, "late".into()).await.expect("answers"), CompleteOutcome::Stored);

    let mut careful = rival(&keys.dead);
    careful.takeover = Takeover::Refuse;
    assert_eq!(store.claim(&careful).await.expect("answers"), ClaimOutcome::Died);
    let second = rival(&keys.dead);
    let taken = store.claim(&second).await.expect("answers");
    assert!(matches!(taken, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{taken:?}");
    assert_eq!(store.claim(&second).await.expect("answers"), taken);
    assert_eq!(store.abandon(&second).await.expect("answers"), ReleaseOutcome::Ended);
    assert_eq!(store.release(&freed).await.expect("answers"), ReleaseOutcome::Ended);
    assert_eq!(store.lookup(&freed.key).await.expect("answers"), Lookup::Absent);
    let renewed = store.renew(&attempt(), &Acquired::new(1, false)).await;
    assert!(matches!(renewed, Err(StoreError::Full(_))), "a lost claim is a new one: {renewed:?}");

    server.set(&["CONFIG", "SET", "maxmemory", "0"]);
    win(&store, &attempt()).await;
}

/// The rules that MISCONF, NOREPLICAS and READONLY share.
async fn nothing_new_begins(store: &RedisStore, keys: &Keys, code: &str) {
    keys.are_answered(store).await;
    let refused = store.claim(&attempt()).await;
    let Err(StoreError::Refused(cause)) = refused else { panic!("{refused:?}") };
    assert_eq!(cause.to_string(), format!("Redis answered {code}"));
    // The key is known, so the policy for outages must not run the handler. It cannot be taken over either.
    // The server may lag behind another one by now. So the store does not conclude from it that an attempt died, or that
    // a claim still belongs to this attempt.
    for takeover in [Takeover::Rerun, Takeover::Refuse] {
        let mut next = rival(&keys.dead);
        next.takeover = takeover;
        assert_eq!(store.claim(&next).await.expect("answers"), ClaimOutcome::Running { left: Duration::ZERO });
    }
    assert!(matches!(store.claim(&keys.running).await, Err(StoreError::Refused(_))));
    assert_eq!(store.lookup(&keys.dead.key).await.expect("answers"), {
        Lookup::Running { fingerprint: keys.dead.fingerprint, left: Duration::ZERO }
    });
    keys.are_not_written(store).await;
}

#[tokio::test]
async fn too_few_replicas() {
    let server = RedisServer::start();
    let store = patient().connect(&server.url()).await.expect("connects");
    let keys = warm_up_and_make_keys(&store).await;
    server.set(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    nothing_new_begins(&store, &keys, "NOREPLICAS").await;
    server.set(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    keys.go_on(&store).await;
}

#[tokio::test]
async fn snapshots_fail() {
    let server = RedisServer::start_with(&["--save", "3600 1"]);
    let store = patient().connect(&server.url()).await.expect("connects");
    let keys = warm_up_and_make_keys(&store).await;
    server.break_snapshots();
    nothing_new_begins(&store, &keys, "MISCONF").await;
    server.set(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    keys.go_on(&store).await;
}

#[tokio::test]
async fn became_a_replica() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.address()).await;
    let store = patient().connect(&proxy.redis_url()).await.expect("connects");
    let keys = warm_up_and_make_keys(&store).await;
    // Its master does not exist, so it loses no data by becoming a replica.
    server.set(&["REPLICAOF", "127.0.0.1", "1"]);
    nothing_new_begins(&store, &keys, "READONLY").await;

    // The address may lead to the new master, so the store makes another connection, but not one for each call.
    let before = proxy.connections();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1_800) {
        assert!(matches!(store.claim(&attempt()).await, Err(StoreError::Refused(_))));
    }
    let made = proxy.connections() - before;
    assert!((1..=5).contains(&made), "{made} connections");

    server.set(&["REPLICAOF", "NO", "ONE"]);
    keys.go_on(&store).await;
}
