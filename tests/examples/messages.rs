//! The examples without HTTP: consumers and workers are killed at any moment, and every effect happens once.

use std::time::{Duration, Instant};

use async_nats::{
    HeaderMap,
    header::NATS_MESSAGE_ID,
    jetstream::{self, consumer::pull, stream},
};
use sqlx::{Connection, PgConnection, SqliteConnection};
use support::{example::Worker, nats_server::NatsServer, postgres::Postgres, redis_server::RedisServer};
use tempfile::TempDir;

/// How many messages or jobs there are: 200, or as many as `IDEMPOTENT_MESSAGES` says.
fn messages() -> i64 {
    std::env::var("IDEMPOTENT_MESSAGES").map_or(200, |number| number.parse().expect("a number"))
}

/// The workers are killed this often.
const KILLS: u32 = 10;

/// All of it has to be done by then, on a loaded machine too.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs two workers, and kills one in turn and starts another in its place. Then waits until `done` says that all is done.
async fn kill_workers(start: impl Fn(u32) -> Worker, mut done: impl AsyncFnMut() -> bool) {
    let mut workers = [start(0), start(1)];
    let begun = Instant::now();
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(150)).await;
        // Dropping a worker kills it.
        workers[kill as usize % 2] = start(kill + 2);
    }
    while !done().await {
        assert!(begun.elapsed() < LIMIT, "it is not done");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn file(directory: &TempDir) -> String {
    format!("sqlite://{}?mode=rwc", directory.path().join("effects.db").display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_of_a_stream_is_one_order_though_it_is_sent_twice_and_consumers_are_killed() {
    let (redis, directory) = (RedisServer::start(), support::directory::in_memory());
    for message in 0..messages() {
        for _ in 0..2 {
            redis.command(&["XADD", "orders", "*", "id", &format!("m{message}"), "order", "a lamp"]);
        }
    }
    let (url, database) = (redis.url(), file(&directory));
    let variables = [("REDIS_URL", url.as_str()), ("DATABASE_URL", &database)];
    let start = |number: u32| Worker::start("redis_streams", &[&format!("consumer-{number}")], &variables);
    kill_workers(start, async || {
        let group = redis.cli(&["XINFO", "GROUPS", "orders"]);
        let number = |name| {
            let mut words = group.split_whitespace().skip_while(|word| *word != name).skip(1);
            words.next().and_then(|word| word.parse::<i64>().ok())
        };
        number("pending") == Some(0) && number("lag") == Some(0)
    })
    .await;
    let mut database = SqliteConnection::connect(&database).await.unwrap();
    let count = "SELECT count(*), count(DISTINCT message) FROM orders";
    let orders: (i64, i64) = sqlx::query_as(count).fetch_one(&mut database).await.unwrap();
    assert_eq!(orders, (messages(), messages()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_of_jetstream_is_one_order_though_it_is_sent_twice_and_consumers_are_killed() {
    let (nats, database) = (NatsServer::start(), Postgres::shared().new_url().await);
    let broker = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    // The broker compares ids for this long. The second time comes later.
    let window = Duration::from_millis(100);
    let stream = stream::Config { name: "orders".into(), duplicate_window: window, ..Default::default() };
    let mut stream = broker.create_stream(stream).await.unwrap();
    for _ in 0..2 {
        for message in 0..messages() {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, format!("m{message}"));
            let sent = broker.publish_with_headers("orders", headers, "a lamp".into()).await.unwrap();
            sent.await.unwrap();
        }
        tokio::time::sleep(2 * window).await;
    }
    assert_eq!(stream.info().await.unwrap().state.messages, 2 * u64::try_from(messages()).unwrap());
    let variables = [("NATS_URL", nats.url()), ("DATABASE_URL", &database)];
    kill_workers(
        |_| Worker::start("nats_jetstream", &[], &variables),
        async || {
            let Ok(mut consumer) = stream.get_consumer::<pull::Config>("billing").await else { return false };
            let info = consumer.info().await.unwrap();
            info.num_pending == 0 && info.num_ack_pending == 0
        },
    )
    .await;
    let mut database = PgConnection::connect(&database).await.unwrap();
    let count = "SELECT count(*), count(DISTINCT message) FROM orders";
    let orders: (i64, i64) = sqlx::query_as(count).fetch_one(&mut database).await.unwrap();
    assert_eq!(orders, (messages(), messages()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_of_a_queue_has_one_invoice_though_workers_are_killed() {
    let url = Postgres::shared().new_url().await;
    let variables = [("DATABASE_URL", url.as_str())];
    let mut database = PgConnection::connect(&url).await.unwrap();
    let jobs = format!(
        "CREATE TABLE jobs (id text PRIMARY KEY, customer text NOT NULL, invoice bigint);
         INSERT INTO jobs SELECT 'j' || n, 'alice' FROM generate_series(1, {}) n",
        messages()
    );
    sqlx::raw_sql(&jobs).execute(&mut database).await.unwrap();
    kill_workers(
        |_| Worker::start("jobs", &[], &variables),
        async || {
            let open = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM jobs WHERE invoice IS NULL");
            open.fetch_one(&mut database).await.unwrap() == 0
        },
    )
    .await;
    let count = "SELECT count(*), count(DISTINCT invoice) FROM jobs JOIN invoices ON number = invoice";
    let matched: (i64, i64) = sqlx::query_as(count).fetch_one(&mut database).await.unwrap();
    let invoices: i64 = sqlx::query_scalar("SELECT count(*) FROM invoices").fetch_one(&mut database).await.unwrap();
    assert_eq!((matched, invoices), ((messages(), messages()), messages()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nightly_job_that_two_machines_start_runs_once_and_is_taken_over_after_a_crash() {
    let directory = support::directory::in_memory();
    let database = file(&directory);
    let start = || Worker::start("nightly", &["2026-11-29"], &[("DATABASE_URL", &database)]);
    let first = start();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut others = [start(), start()];
    drop(first);
    let begun = Instant::now();
    for worker in &mut others {
        while worker.ended().is_none() {
            assert!(begun.elapsed() < LIMIT, "it is not done");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(worker.ended(), Some(true));
    }
    let mut database = SqliteConnection::connect(&database).await.unwrap();
    let reports: i64 = sqlx::query_scalar("SELECT count(*) FROM reports").fetch_one(&mut database).await.unwrap();
    assert_eq!(reports, 1);
}
