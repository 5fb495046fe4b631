//! What is stored in Redis, how the store treats records that it did not write, and how many commands a request needs.

use std::time::Duration;

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    RedisStore,
    store::{Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, Lookup, ReleaseOutcome, RenewOutcome},
};
use support::{
    attempts::{attempt, dead, done, rival, warm_up, win},
    redis_server::RedisServer,
    redis_store::patient,
};

async fn connected() -> (RedisServer, RedisStore) {
    let server = RedisServer::start();
    let store = patient().connect(&server.url()).await.expect("connects");
    (server, store)
}

/// Checks that nothing runs, that nothing is overwritten, and that the record is not taken for absent.
async fn is_unreadable(store: &RedisStore, key: &ClaimRequest, what: &str) {
    assert_eq!(store.claim(&rival(key)).await.expect("answers"), ClaimOutcome::Unreadable, "{what}");
    assert_eq!(store.lookup(&key.key).await.expect("answers"), Lookup::Unreadable, "{what}");
    let late = rival(key);
    assert_eq!(store.complete(&late, 1, "late".into()).await.expect("answers"), CompleteOutcome::Lost, "{what}");
    assert_eq!(store.renew(&late, &Acquired::new(1, false)).await.expect("answers"), RenewOutcome::Lost, "{what}");
    assert_eq!(store.release(&late).await.expect("answers"), ReleaseOutcome::NotOurs, "{what}");
    assert_eq!(store.abandon(&late).await.expect("answers"), ReleaseOutcome::NotOurs, "{what}");
    assert_eq!(store.lookup(&key.key).await.expect("answers"), Lookup::Unreadable, "{what}, after all that");
}

#[tokio::test]
async fn foreign_values_are_unreadable() {
    let (server, store) = connected().await;
    let header = |from: &str| format!("{from}{}", "0".repeat(89 - from.len()));
    let values = [
        ("an empty string", String::new()),
        ("a short one", "1P".to_owned()),
        ("text", "some other program's text, which is longer than a header of ours, so that its length does not give it away".to_owned()),
        ("a later layout", header("4P")),
        ("the layout with a change, without one", header("3P")),
        ("the old layout with steps, without steps", header("2R")),
        ("the old layout with steps, in a first attempt", header("2P") + "steps"),
        ("an unknown tag", header("1X")),
        ("a running record with a body", header("1P") + "body"),
        ("digits that are none", header("1PAAAAAAAAAAAAAAAA-000000000000001")),
    ];
    for (what, value) in values {
        let key = attempt();
        server.set(&["SET", key.key.as_str(), &value, "PX", "60000"]);
        is_unreadable(&store, &key, what).await;
    }
    for (what, command) in [("a list", "RPUSH"), ("a set", "SADD"), ("a stream", "XADD")] {
        let key = attempt();
        let arguments: &[&str] = if command == "XADD" { &["*", "field", "value"] } else { &["value"] };
        server.set(&[&[command, key.key.as_str()], arguments].concat());
        is_unreadable(&store, &key, what).await;
    }
}

/// Only the records that nearly every request writes have the short layout. A version of the library that does not know the
/// other one refuses its records, as it refuses every layout that it does not know.
#[tokio::test]
async fn a_record_with_steps_has_a_layout_of_its_own() {
    let (server, store) = connected().await;
    let key = attempt();
    let fence = win(&store, &key).await;
    let layout = || server.cli(&["GETRANGE", key.key.as_str(), "0", "1"]).trim().to_owned();
    let steps = || server.cli(&["GETRANGE", key.key.as_str(), "105", "-1"]).trim().to_owned();
    assert_eq!(layout(), "1P");
    store.save_steps(&key, fence, "steps".into()).await.expect("answers");
    assert_eq!((layout(), steps()), ("3R".to_owned(), "steps".to_owned()));
    store.release(&key).await.expect("answers");
    assert_eq!((layout(), steps()), ("3R".to_owned(), "steps".to_owned()), "a release keeps them");
    let next = rival(&key);
    let fence = win(&store, &next).await;
    assert_eq!((layout(), steps()), ("3R".to_owned(), "steps".to_owned()), "and so does a takeover");
    store.complete(&next, fence, "record".into()).await.expect("answers");
    assert_eq!(layout(), "1D", "a response takes their place");
}

/// A claim that never expires would answer 409 for ever. So it is an error that an operator has to look into.
#[tokio::test]
async fn a_claim_without_expiry_is_unreadable() {
    let (server, store) = connected().await;
    let key = attempt();
    win(&store, &key).await;
    server.set(&["PERSIST", key.key.as_str()]);
    is_unreadable(&store, &key, "a running claim").await;
    // The claim's own attempt goes on, and its heartbeat sets the expiry again.
    assert_eq!(store.renew(&key, &Acquired::new(1, false)).await.expect("answers"), RenewOutcome::Renewed);
    assert!(matches!(store.lookup(&key.key).await, Ok(Lookup::Running { .. })));
}

/// A claim is one round trip, which does not show the expiry. The response is still right, so it is replayed. A lookup
/// reports the fault.
#[tokio::test]
async fn a_finished_record_without_expiry_is_replayed() {
    let (server, store) = connected().await;
    let key = done(&store).await;
    server.set(&["PERSIST", key.key.as_str()]);
    assert_eq!(store.claim(&rival(&key)).await.expect("answers"), ClaimOutcome::Done("record".into()));
    assert_eq!(store.lookup(&key.key).await.expect("answers"), Lookup::Unreadable);
}

#[tokio::test]
async fn every_key_expires() {
    let (server, store) = connected().await;
    warm_up(&store).await;
    let recreated = attempt();
    store.renew(&recreated, &Acquired::new(1, false)).await.expect("answers");
    let (running, dead, done, late) = (attempt(), dead(&store).await, done(&store).await, attempt());
    win(&store, &running).await;
    store.complete(&late, 1, "record".into()).await.expect("answers");
    let taken = rival(&dead);
    win(&store, &taken).await;
    for (key, most) in [
        (&recreated, running.retention()),
        (&running, running.retention()),
        (&taken, running.retention()),
        (&done, done.ttl),
        (&late, late.ttl),
    ] {
        let pttl = server.command(&["PTTL", key.key.as_str()]);
        let pttl: u128 = pttl.trim_start_matches(':').parse().expect("a number of milliseconds");
        assert!(pttl > 0 && pttl <= most.as_millis() && pttl + 60_000 > most.as_millis(), "{pttl} ms");
    }
}

/// The longest and the shortest possible durations, and durations beyond these.
#[tokio::test]
async fn extreme_durations_are_kept() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let (server, store) = connected().await;
    for (lease, ttl, kept) in [
        (DAY, 36_500 * DAY, 36_500 * DAY),
        (Duration::ZERO, DAY, DAY),
        (Duration::MAX, Duration::MAX, Duration::from_millis(9_999_999_999_999)),
    ] {
        let mut key = attempt();
        (key.lease, key.ttl) = (lease, ttl);
        let fence = win(&store, &key).await;
        assert_eq!(store.renew(&key, &Acquired::new(fence, false)).await.expect("answers"), RenewOutcome::Renewed);
        store.complete(&key, u64::MAX, "record".into()).await.expect("answers");
        let pttl = server.command(&["PTTL", key.key.as_str()]);
        let pttl: u128 = pttl.trim_start_matches(':').parse().expect("a number of milliseconds");
        assert!(pttl <= kept.as_millis() && pttl + 60_000 > kept.as_millis(), "{pttl} ms of {kept:?}");
    }
}

#[tokio::test]
async fn one_command_for_a_claim_and_for_a_replay_two_for_a_first_execution() {
    let (server, store) = connected().await;
    warm_up(&store).await;
    let first = attempt();

    let monitor = server.monitor();
    let fence = win(&store, &first).await;
    assert_eq!(monitor.commands(), ["SET"], "a claim");

    let monitor = server.monitor();
    store.complete(&first, fence, "record".into()).await.expect("answers");
    // A server that compares by itself needs no script.
    let compares = !server.command(&["SET", "probe", "1", "IFEQ", "0"]).starts_with("-ERR");
    let completion = if compares { "SET" } else { "EVALSHA" };
    assert_eq!(monitor.commands().first().map(String::as_str), Some(completion), "and its completion");

    let monitor = server.monitor();
    assert_eq!(store.claim(&rival(&first)).await.expect("answers"), ClaimOutcome::Done("record".into()));
    assert_eq!(monitor.commands(), ["SET"], "a replay");

    let running = attempt();
    win(&store, &running).await;
    let monitor = server.monitor();
    assert!(matches!(store.claim(&rival(&running)).await, Ok(ClaimOutcome::Running { .. })));
    assert_eq!(monitor.commands(), ["SET", "EVALSHA"], "a running duplicate");

    let second = rival(&dead(&store).await);
    let monitor = server.monitor();
    win(&store, &second).await;
    assert_eq!(monitor.commands(), ["SET", "EVALSHA", "EVALSHA"], "a takeover");

    // The time is known for a second after it was asked for. A busy machine may need longer between the two calls.
    let asked = async || {
        idempotent_runtime::Store::now(&store).await.expect("answers");
        let monitor = server.monitor();
        idempotent_runtime::Store::now(&store).await.expect("answers");
        monitor.commands()
    };
    let mut commands = asked().await;
    for _ in 0..20 {
        if commands.is_empty() {
            break;
        }
        commands = asked().await;
    }
    assert_eq!(commands, [""; 0], "the time is known");
}

#[tokio::test]
async fn scripts_come_back_after_a_restart() {
    let (server, store) = connected().await;
    warm_up(&store).await;
    server.set(&["SCRIPT", "FLUSH"]);
    warm_up(&store).await;
    server.set(&["SCRIPT", "FLUSH"]);
    let key = attempt();
    win(&store, &key).await;
    let monitor = server.monitor();
    assert_eq!(store.abandon(&key).await.expect("answers"), ReleaseOutcome::Ended);
    assert_eq!(monitor.commands(), ["EVALSHA", "EVAL", "EVALSHA", "EVAL"], "it reads, and then writes");
}

/// Bytes that Redis needs for a key of the usual length, printed for the sizing guide.
#[tokio::test]
async fn a_record_is_small() {
    let (server, store) = connected().await;
    let mut key = attempt();
    key.key = idempotent_runtime::store::StoreKey::new(format!(
        "payments:POST:/payments:{}:{}",
        "user-12345",
        "0".repeat(36)
    ));
    let fence = win(&store, &key).await;
    let usage = |what: &str| {
        let bytes = server.command(&["MEMORY", "USAGE", key.key.as_str()]);
        println!("{what}: {bytes} bytes");
        bytes.trim_start_matches(':').parse::<usize>().expect("a number")
    };
    let running = usage("running");
    store.complete(&key, fence, vec![b'x'; 200].into()).await.expect("answers");
    let done = usage("done, 200 bytes");
    assert!(running <= 320 && done <= 512, "{running} {done}");
}
