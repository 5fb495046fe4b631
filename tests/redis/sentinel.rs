//! A master that sentinels name, reached by [`RedisStore::connect_sentinel`]: the same promises, and failovers under load.

use std::time::{Duration, Instant};

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    RedisStore,
    store::{Acquired, ClaimOutcome, CompleteOutcome, RedisStoreError},
    testing,
};
use support::{
    attempts::{attempt, rival, served_again, win},
    load::goes_on_under_load,
    redis_server::RedisServer,
    redis_store::{self, PATIENCE, patient},
    sentinel::{MASTER, Sentinels},
};
use tokio::time::sleep;

async fn connected(sentinels: &Sentinels) -> RedisStore {
    patient().connect_sentinel(sentinels.urls(), MASTER).await.expect("is fit")
}

/// With the timeouts of a service.
async fn hasty(sentinels: &Sentinels) -> RedisStore {
    redis_store::connected(async || RedisStore::connect_sentinel(sentinels.urls(), MASTER).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_master_named_by_sentinels_keeps_the_promises() {
    let sentinels = Sentinels::start();
    testing::conformance(connected(&sentinels).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_is_replaced_under_load() {
    a_master_is_replaced_under_load(RedisServer::kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_stands_still_is_replaced_under_load() {
    a_master_is_replaced_under_load(|master| master.freeze()).await;
}

async fn a_master_is_replaced_under_load(lose: impl FnOnce(&mut RedisServer)) {
    let mut sentinels = Sentinels::start_watchful();
    let (store, probe) = (hasty(&sentinels).await, hasty(&sentinels).await);
    let again = async || served_again(async || probe.claim(&attempt()).await).await;
    goes_on_under_load(store, || lose(sentinels.master()), again).await;
}

/// The limit that `docs/reliability.md` states: with two masters at once both acknowledge a claim, and both handlers
/// run. When the old master has become a replica, the response of the attempt that it acknowledged is not stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_split_brain_both_sides_run_and_one_response_is_kept() {
    let sentinels = Sentinels::start();
    let before = connected(&sentinels).await;
    win(&before, &attempt()).await;
    sentinels.fail_over();
    let after = connected(&sentinels).await;

    let (first, mut second) = (attempt(), None);
    // The old master serves its clients until the sentinels make it a replica.
    let fence = win(&before, &first).await;
    let rival = rival(&first);
    if let ClaimOutcome::Acquired(Acquired { recovering, .. }) =
        after.claim(&rival).await.expect("the new master answers")
    {
        assert!(!recovering, "nothing is known of the first");
        second = Some(rival);
    }
    let second = second.expect("two executions: the limit of asynchronous replication");
    let second_fence = win(&after, &second).await;
    assert_eq!(after.complete(&second, second_fence, "second".into()).await.expect("answers"), CompleteOutcome::Stored);

    let start = Instant::now();
    let lost = loop {
        // The old master stores this too. It loses it when the sentinels make it a replica.
        match before.complete(&first, fence, "first".into()).await {
            Ok(CompleteOutcome::Lost) => break true,
            _ if start.elapsed() > Duration::from_secs(60) => break false,
            _ => sleep(Duration::from_millis(100)).await,
        }
    };
    println!("the old master was followed to the new one after {:?}", start.elapsed());
    assert!(lost, "the first response must not be stored over the second");
    assert_eq!(
        after.claim(&support::attempts::rival(&first)).await.expect("answers"),
        ClaimOutcome::Done("second".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_that_stands_still_keeps_nobody_waiting() {
    let sentinels = Sentinels::start();
    sentinels.freeze_one();
    let start = Instant::now();
    win(&connected(&sentinels).await, &attempt()).await;
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_masters_url_has_its_credentials_and_its_database() {
    let sentinels = Sentinels::start();
    let master = &sentinels.servers[0];
    master.set(&["ACL", "SETUSER", "app", "on", ">s3cret", "~*", "+@all"]);
    let url = format!("redis://app:s3cret@{MASTER}/3");
    let store = patient().connect_sentinel(sentinels.urls(), &url).await.expect("is fit");
    let claimed = attempt();
    win(&store, &claimed).await;
    assert_eq!(master.cli(&["-n", "3", "EXISTS", claimed.key.as_str()]).trim(), "1");
    let wrong = patient().connect_sentinel(sentinels.urls(), &format!("redis://app:wr0ng@{MASTER}")).await;
    let error = wrong.expect_err("the password is wrong");
    assert!(!format!("{error} {error:?}").contains("wr0ng"), "{error:?}");
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_is_an_error_that_says_so() {
    let sentinels = Sentinels::start();
    let error = patient().connect_sentinel(sentinels.urls(), "orders").await.expect_err("another name");
    let RedisStoreError::Unreachable { address, source } = error else { panic!("{error:?}") };
    assert!(address.starts_with("orders of the sentinels"), "{address}");
    assert_eq!(source.to_string(), "the sentinels know no master");
}
