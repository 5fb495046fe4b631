//! If the server can compare a value by itself, a completion is a plain command. An older server gets the script.

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    RedisStore,
    store::{Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome},
};
use support::{
    attempts::{attempt, dead, done, rival, warm_up, win},
    programs::fetched_program,
    redis_server::RedisServer,
    redis_store::patient,
};

/// A program that knows `SET … IFEQ`, and one that does not.
fn newer() -> String {
    fetched_program("valkey-9")
}

const OLDER: &str = "redis-server";

async fn on_newer() -> (RedisServer, RedisStore) {
    let server = RedisServer::start_program(&newer(), &[], &[]);
    let store = patient().connect(&server.url()).await.expect("is fit");
    warm_up(&store).await;
    store.complete(&attempt(), 1, "record".into()).await.expect("the script is known from now on");
    (server, store)
}

async fn is_done(store: &RedisStore, attempt: &ClaimRequest, record: &'static str) {
    assert_eq!(store.claim(&rival(attempt)).await.expect("answers"), ClaimOutcome::Done(record.into()));
}

#[tokio::test]
async fn a_first_execution_is_two_plain_commands() {
    let (server, store) = on_newer().await;
    let monitor = server.monitor();
    let first = done(&store).await;
    assert_eq!(monitor.commands(), ["SET", "SET"]);
    is_done(&store, &first, "record").await;
    let kept = server.command(&["PTTL", first.key.as_str()]);
    let kept: u128 = kept.trim_start_matches(':').parse().expect("a number of milliseconds");
    assert!(kept > 0 && kept <= first.ttl.as_millis(), "{kept} ms");
}

/// If the record is not the running record of a first attempt, the script completes it.
#[tokio::test]
async fn the_script_decides_where_the_record_is_another() {
    let (server, store) = on_newer().await;

    let taken_over = rival(&dead(&store).await);
    let fence = win(&store, &taken_over).await;
    let monitor = server.monitor();
    assert_eq!(store.complete(&taken_over, fence, "record".into()).await.expect("answers"), CompleteOutcome::Stored);
    assert_eq!(monitor.commands(), ["SET", "EVALSHA"], "a takeover's header differs");
    assert_eq!(
        store.complete(&taken_over, fence, "other".into()).await.expect("answers"),
        CompleteOutcome::AlreadyStored
    );
    is_done(&store, &taken_over, "record").await;

    let lost = attempt();
    assert_eq!(store.complete(&lost, 7, "record".into()).await.expect("answers"), CompleteOutcome::Stored);
    is_done(&store, &lost, "record").await;

    let stranger = rival(&lost);
    assert_eq!(store.complete(&stranger, 7, "late".into()).await.expect("answers"), CompleteOutcome::Lost);
    is_done(&store, &lost, "record").await;

    let stepped = attempt();
    let fence = win(&store, &stepped).await;
    store.save_steps(&stepped, fence, "steps".into()).await.expect("answers");
    assert_eq!(store.complete(&stepped, fence, "record".into()).await.expect("answers"), CompleteOutcome::Stored);
    is_done(&store, &stepped, "record").await;
}

/// A renewal changes the record, so the server's own comparison does not find the claim. This costs a round trip more, in
/// an attempt that has lasted for a third of its lease.
#[tokio::test]
async fn a_renewed_claim_is_completed_by_the_script() {
    let (server, store) = on_newer().await;
    let first = attempt();
    let fence = win(&store, &first).await;
    store.renew(&first, &Acquired::new(fence, false)).await.expect("answers");
    let monitor = server.monitor();
    assert_eq!(store.complete(&first, fence, "record".into()).await.expect("answers"), CompleteOutcome::Stored);
    assert_eq!(monitor.commands(), ["SET", "EVALSHA"]);
}

#[tokio::test]
async fn a_completion_lands_when_memory_is_short() {
    let (server, store) = on_newer().await;
    let first = attempt();
    let fence = win(&store, &first).await;
    server.set(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(store.complete(&first, fence, "record".into()).await.expect("answers"), CompleteOutcome::Stored);
    is_done(&store, &first, "record").await;
}

/// Each connection finds out what its server can do, so an address may lead to an older server, or to a newer one.
#[tokio::test]
async fn a_failover_to_an_older_server_and_back_is_followed() {
    let (mut server, store) = on_newer().await;
    for (program, commands) in [(OLDER.to_owned(), "EVALSHA"), (newer(), "SET")] {
        server.restart_as(&program);
        let start = std::time::Instant::now();
        while store.claim(&attempt()).await.is_err() {
            assert!(start.elapsed().as_secs() < 20, "it is not served again");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let first = done(&store).await;
        is_done(&store, &first, "record").await;
        warm_up(&store).await;
        let monitor = server.monitor();
        done(&store).await;
        assert_eq!(monitor.commands(), ["SET", commands], "{program}");
    }
}
