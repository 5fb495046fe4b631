//! Messages that a broker delivers again: the acknowledgement is lost, the first consumer still runs, or it was frozen.
//! The effect is counted in the database.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer::pull};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use support::{example::Worker, nats_server::NatsServer, postgres::Postgres, proxy::Proxy, redis_server::RedisServer};
use tempfile::TempDir;

/// Waits until `done` says so.
async fn wait_for(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How long NATS waits for an acknowledgement: far longer than a busy machine holds a consumer up.
const ACK_WAIT: Duration = Duration::from_secs(6);

/// A NATS server with one message, and the database of its consumers, in which the test can hold an order back.
struct Billing {
    nats: NatsServer,
    messages: jetstream::Context,
    database_url: String,
    database: PgConnection,
}

impl Billing {
    /// Starts a consumer, which reaches the broker by the proxy, and returns it when its first order is held back.
    async fn begin() -> (Self, Worker, Proxy) {
        let (nats, database_url) = (NatsServer::start(), Postgres::shared().new_url().await);
        let proxy = Proxy::to(nats.address()).await;
        let consumer = Self::consumer(&format!("nats://{}", proxy.address()), &database_url);
        let messages = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
        let database = PgConnection::connect(&database_url).await.unwrap();
        let mut billing = Self { nats, messages, database_url, database };
        wait_for("the consumer", async || billing.delivered().await.is_some()).await;
        billing.query("BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE").await;
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, "m1");
        let sent = billing.messages.publish_with_headers("orders", headers, "a lamp".into()).await.unwrap();
        sent.await.unwrap();
        wait_for("the order", async || billing.held_back().await == 1).await;
        (billing, consumer, proxy)
    }

    fn consumer(nats: &str, database: &str) -> Worker {
        let seconds = ACK_WAIT.as_secs().to_string();
        let variables = [("NATS_URL", nats), ("DATABASE_URL", database), ("ACK_WAIT_SECONDS", &seconds)];
        Worker::start("nats_jetstream", &[], &variables)
    }

    /// Another consumer, with its own connection to the broker.
    fn another(&self) -> Worker {
        Self::consumer(self.nats.url(), &self.database_url)
    }

    /// Lets the orders through that are held back.
    async fn let_through(&mut self) {
        self.query("COMMIT").await;
    }

    /// How often the message was delivered, and how many deliveries wait for an acknowledgement.
    async fn delivered(&self) -> Option<(u64, usize)> {
        let stream = self.messages.get_stream("orders").await.ok()?;
        let mut consumer = stream.get_consumer::<pull::Config>("billing").await.ok()?;
        let info = consumer.info().await.ok()?;
        Some((info.delivered.consumer_sequence, info.num_ack_pending))
    }

    async fn wait_until_acknowledged(&self) {
        wait_for("the acknowledgement", async || self.delivered().await.is_some_and(|(_, pending)| pending == 0)).await;
    }

    async fn query(&mut self, query: &str) {
        sqlx::raw_sql(query).execute(&mut self.database).await.unwrap();
    }

    async fn count(&mut self, query: &str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.database).await.unwrap()
    }

    /// How many consumers are about to write their order, which is held back.
    async fn held_back(&mut self) -> i64 {
        self.count("SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND NOT granted").await
    }

    /// How many consumers have written an order and not committed it.
    async fn uncommitted(&mut self) -> i64 {
        let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND granted";
        self.count(&format!("{locks} AND mode = 'RowExclusiveLock'")).await
    }

    async fn orders(&mut self) -> i64 {
        self.count("SELECT count(*) FROM orders").await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_that_never_reaches_nats_leads_to_another_delivery_and_no_other_order() {
    let (mut billing, _first, proxy) = Billing::begin().await;
    proxy.hold_requests();
    billing.let_through().await;
    wait_for("the order", async || billing.orders().await == 1).await;
    assert!(billing.delivered().await.is_some_and(|(_, pending)| pending == 1));
    let _second = billing.another();
    billing.wait_until_acknowledged().await;
    assert!(billing.delivered().await.is_some_and(|(times, _)| times >= 2));
    assert_eq!(billing.orders().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_nats_delivers_again_while_its_first_consumer_runs_is_one_order() {
    let (mut billing, _first, proxy) = Billing::begin().await;
    // NATS no longer hears that it is at work.
    proxy.hold_requests();
    let _second = billing.another();
    // The second consumer is asked twice, and does not run it.
    wait_for("two more deliveries", async || billing.delivered().await.is_some_and(|(times, _)| times >= 3)).await;
    assert_eq!(billing.held_back().await, 1);
    billing.let_through().await;
    billing.wait_until_acknowledged().await;
    assert_eq!(billing.orders().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_consumer_takes_long_is_delivered_once() {
    let (mut billing, _first, _proxy) = Billing::begin().await;
    let _second = billing.another();
    tokio::time::sleep(2 * ACK_WAIT).await;
    billing.let_through().await;
    billing.wait_until_acknowledged().await;
    assert_eq!(billing.delivered().await, Some((1, 0)));
    assert_eq!(billing.orders().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_of_nats_that_is_frozen_for_longer_than_its_lease_commits_no_second_order() {
    let (mut billing, first, _proxy) = Billing::begin().await;
    first.freeze();
    billing.let_through().await;
    wait_for("the frozen consumer's order", async || billing.uncommitted().await == 1).await;
    let _second = billing.another();
    billing.wait_until_acknowledged().await;
    // The second consumer's. The first one has still not committed its own.
    assert_eq!((billing.orders().await, billing.uncommitted().await), (1, 1));
    first.thaw();
    wait_for("the first consumer's end", async || billing.uncommitted().await == 0).await;
    assert_eq!(billing.orders().await, 1);
}

/// A stream of Redis with one message, and the database of its consumers, which the test keeps from writing.
struct Stream {
    redis: RedisServer,
    database_url: String,
    database: SqliteConnection,
    _directory: TempDir,
}

impl Stream {
    /// Starts a consumer, which reaches Redis by the proxy, and returns it when it has the message and cannot claim it.
    async fn begin() -> (Self, Worker, Proxy) {
        let (redis, directory) = (RedisServer::start(), support::directory::in_memory());
        let database_url = format!("sqlite://{}?mode=rwc", directory.path().join("orders.db").display());
        let proxy = Proxy::to(redis.address()).await;
        let first = Self::consumer("first", &proxy.redis_url(), &database_url);
        wait_for("the consumer", async || redis.command(&["XINFO", "GROUPS", "orders"]) == "*1").await;
        let mut database = SqliteConnection::connect(&database_url).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut database).await.unwrap();
        redis.set(&["XADD", "orders", "*", "id", "m1", "order", "a lamp"]);
        let stream = Self { redis, database_url, database, _directory: directory };
        wait_for("the delivery", async || stream.pending() == "1").await;
        (stream, first, proxy)
    }

    fn consumer(name: &str, redis: &str, database: &str) -> Worker {
        Worker::start("redis_streams", &[name], &[("REDIS_URL", redis), ("DATABASE_URL", database)])
    }

    /// Another consumer, with its own connection to Redis.
    fn another(&self) -> Worker {
        Self::consumer("second", &self.redis.url(), &self.database_url)
    }

    async fn let_through(&mut self) {
        sqlx::raw_sql("COMMIT").execute(&mut self.database).await.unwrap();
    }

    /// How many messages are delivered and not acknowledged.
    fn pending(&self) -> String {
        self.redis.cli(&["XPENDING", "orders", "billing"]).lines().next().unwrap_or_default().to_owned()
    }

    async fn orders(&mut self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut self.database).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_that_never_reaches_redis_leads_to_another_delivery_and_no_other_order() {
    let (mut stream, _first, proxy) = Stream::begin().await;
    proxy.hold_requests();
    stream.let_through().await;
    wait_for("the order", async || stream.orders().await == 1).await;
    assert_eq!(stream.pending(), "1");
    let _second = stream.another();
    wait_for("the acknowledgement", async || stream.pending() == "0").await;
    assert_eq!(stream.orders().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_of_redis_that_is_frozen_before_its_claim_writes_no_second_order() {
    let (mut stream, first, _proxy) = Stream::begin().await;
    first.freeze();
    stream.let_through().await;
    let second = stream.another();
    wait_for("the acknowledgement", async || stream.pending() == "0").await;
    assert_eq!(stream.orders().await, 1);
    drop(second);
    let asked = stream.redis.calls("xautoclaim");
    first.thaw();
    // It asks for other messages when it has done what it can with this one.
    wait_for("the first consumer's end", async || stream.redis.calls("xautoclaim") > asked).await;
    assert_eq!(stream.orders().await, 1);
}
