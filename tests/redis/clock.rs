//! A time-stamped key is judged by the server's clock, also after that clock was set.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use idempotent_runtime::RedisStore;
use idempotent_runtime::testing::Claims;
use support::{
    attempts::{attempt, rival, win},
    programs::program,
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
};
use tokio::time::sleep;

/// A server whose clock is set by a file. (`faketime` does not work with the allocator of Redis.)
struct Clock {
    server: RedisServer,
    directory: tempfile::TempDir,
}

impl Clock {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let library = directory.path().join("shifted_clock.so").display().to_string();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/redis/shifted_clock.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o", &library, source]).status();
        let compiled = compiled.unwrap_or_else(|error| panic!("cannot run cc ({error}): `apt-get install gcc`"));
        assert!(compiled.success(), "{source}");
        let offset = directory.path().join("offset");
        fs::write(&offset, "0").expect("it is ours");
        let offset = offset.display().to_string();
        let environment = [("LD_PRELOAD", library.as_str()), ("CLOCK_OFFSET_FILE", &offset)];
        Self { server: RedisServer::start_program(&program(), &[], &environment), directory }
    }

    fn set(&self, offset: &str) {
        fs::write(self.directory.path().join("offset"), offset).expect("it is ours");
    }
}

/// How far the store's clock is ahead of the test's, in whole seconds.
async fn ahead(store: &RedisStore) -> i64 {
    let now = idempotent_runtime::Store::now(store).await.expect("answers");
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    #[allow(clippy::cast_possible_truncation, reason = "an hour or two")]
    let ahead = (seconds(now) - seconds(SystemTime::now())).round() as i64;
    ahead
}

/// Waits until the store's clock is so far ahead. On a busy machine a moment may pass between the two readings.
async fn comes_to_be_ahead(store: &RedisStore, seconds: i64) {
    let start = Instant::now();
    while ahead(store).await != seconds {
        assert!(start.elapsed() < Duration::from_secs(20), "it still shows another time");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_clock_that_was_set_counts_after_a_second() {
    let clock = Clock::start();
    let store = patient().connect(&clock.server.url()).await.expect("connects");
    comes_to_be_ahead(&store, 0).await;
    for (offset, seconds) in [("3600", 3600), ("-3600", -3600)] {
        clock.set(offset);
        let set = Instant::now();
        comes_to_be_ahead(&store, seconds).await;
        println!("{offset} after {:?}", set.elapsed());
    }
}

/// While the server does not answer, the store goes on from what it last knew of the server's clock. While the server
/// is known to be down, the store does not wait for it.
#[tokio::test]
async fn without_an_answer_the_clock_goes_on() {
    let mut clock = Clock::start();
    let store = patient().connect(&clock.server.url()).await.expect("connects");
    win(&store, &attempt()).await;
    clock.server.kill();
    sleep(Duration::from_millis(1_200)).await;
    let asked = Instant::now();
    ahead(&store).await;
    assert!(asked.elapsed() < PATIENCE / 2, "it waited for an answer: {:?}", asked.elapsed());
    comes_to_be_ahead(&store, 0).await;
}

/// Another process knows only the clock as it is now. The fence of the attempt that freed the key is still larger.
#[tokio::test]
async fn a_fence_grows_after_a_release_although_the_clock_was_set_back() {
    let clock = Clock::start();
    clock.set("3600");
    let store = patient().connect(&clock.server.url()).await.expect("connects");
    let first = attempt();
    let before = win(&store, &first).await;
    store.release(&first).await.expect("answers");
    clock.set("0");
    let another = patient().connect(&clock.server.url()).await.expect("connects");
    let after = win(&another, &rival(&first)).await;
    assert!(after > before, "{after} after {before}");
}
