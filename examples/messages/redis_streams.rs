//! A consumer of a Redis stream: each order is written once, however often its message is delivered.
//!
//! `REDIS_URL` has the stream `orders`. `DATABASE_URL` has the orders and the claims, so that an order is committed together
//! with the result of its message. Start it as often as you like, with another name each time:
//! `REDIS_URL=redis://127.0.0.1/ DATABASE_URL=sqlite://orders.db?mode=rwc cargo run --example redis_streams -- one`

use std::{env, time::Duration};

use idempotent_runtime::{Claim, Idempotency, Outcome, RunError, SqlStore};
use redis::{
    AsyncCommands as _, AsyncConnectionConfig, RedisResult,
    aio::MultiplexedConnection,
    streams::{StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamReadOptions, StreamReadReply},
};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;

const STREAM: &str = "orders";
const GROUP: &str = "billing";

/// A message that was not acknowledged for this long is delivered to another consumer.
const REDELIVERED_AFTER: Duration = Duration::from_secs(2);

/// A dead consumer's claim is over before its message comes again.
const LEASE: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    order: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = env::args().nth(1).unwrap_or_else(|| "one".to_owned());
    let pool = SqlitePool::connect(&env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, message TEXT NOT NULL)")
        .execute(&pool)
        .await?;
    let store = SqlStore::sqlite(pool.clone());
    store.migrate().await?;
    // Nobody waits for a consumer. So it rather waits for a slow database than has the message delivered again.
    let idempotency = Idempotency::builder(store).namespace("billing").store_timeout(Duration::from_secs(10)).build();

    let redis = redis::Client::open(env::var("REDIS_URL")?)?;
    // By default each answer has to come within 500 ms, and a read of new messages alone waits for 200 ms of them.
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(10)))
        .set_response_timeout(Some(Duration::from_secs(10)));
    let mut redis = redis.get_multiplexed_async_connection_with_config(&patient).await?;
    // An error means that the group exists.
    let _: RedisResult<()> = redis.xgroup_create_mkstream(STREAM, GROUP, "0").await;
    println!("{name} consumes {STREAM}");
    loop {
        for message in next(&mut redis, &name).await? {
            if handle(&pool, &idempotency, &message).await {
                let _: usize = redis.xack(STREAM, GROUP, &[&message.id]).await?;
            }
        }
    }
}

/// The messages of consumers that stopped, then new ones.
async fn next(redis: &mut MultiplexedConnection, name: &str) -> RedisResult<Vec<StreamId>> {
    let idle = REDELIVERED_AFTER.as_millis();
    let options = StreamAutoClaimOptions::default().count(10);
    let left: StreamAutoClaimReply = redis.xautoclaim_options(STREAM, GROUP, name, idle, "0", options).await?;
    if !left.claimed.is_empty() {
        return Ok(left.claimed);
    }
    let options = StreamReadOptions::default().group(GROUP, name).count(10).block(200);
    let read: Option<StreamReadReply> = redis.xread_options(&[STREAM], &[">"], &options).await?;
    Ok(read.into_iter().flat_map(|read| read.keys).flat_map(|stream| stream.ids).collect())
}

/// Returns whether the message is done with, and may be acknowledged.
async fn handle(pool: &SqlitePool, idempotency: &Idempotency, message: &StreamId) -> bool {
    // The producer's own id. The id that Redis gives is another one when the producer sends the message again.
    let id: String = message.get("id").unwrap_or_default();
    let content: String = message.get("order").unwrap_or_default();
    let operation = idempotency.operation("orders.created").key(&id).fingerprint(&content);
    let effect = {
        let (pool, id) = (pool.clone(), id.clone());
        async move |claim: Claim| {
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
            let insert = sqlx::query_scalar("INSERT INTO orders (message) VALUES (?) RETURNING id").bind(id);
            let order = insert.fetch_one(&mut *tx).await?;
            claim.commit_value(tx, Receipt { order }).await
        }
    };
    match operation.lease(LEASE).redelivered_after(REDELIVERED_AFTER).run(effect).await {
        Ok(Outcome::Ran(Receipt { order }) | Outcome::Replayed(Receipt { order })) => {
            println!("{id} is order {order}");
            true
        }
        // Another consumer has it. If that one dies, the message is delivered again.
        Ok(Outcome::Running { .. }) => false,
        // No delivery can succeed. A real consumer moves the message to a stream that people look at.
        Ok(outcome) => {
            eprintln!("{id} is put aside: {outcome:?}");
            true
        }
        Err(RunError::Effect(error)) => {
            eprintln!("{id} failed and is delivered again: {error}");
            false
        }
        Err(error) => {
            eprintln!("{id} did not run and is delivered again: {error}");
            false
        }
    }
}
