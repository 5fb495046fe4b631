//! A consumer on NATS `JetStream`: each order is written once, however often its message is delivered.
//!
//! Postgres has the orders and the claims, so that an order is committed together with the result of its message. Start it
//! as often as you like: `NATS_URL=nats://127.0.0.1 DATABASE_URL=postgres://… cargo run --example nats_jetstream`

use std::{env, pin::pin, time::Duration};

use async_nats::{
    header::NATS_MESSAGE_ID,
    jetstream::{self, AckKind, Message, consumer::pull, stream},
};
use futures_util::StreamExt as _;
use idempotent_runtime::{Claim, Idempotency, Outcome, RunError, SqlStore};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::time::timeout;

const STREAM: &str = "orders";
const CONSUMER: &str = "billing";

/// A message that was not acknowledged for so many seconds is delivered again. `ACK_WAIT_SECONDS` is another number.
const ACK_WAIT_SECONDS: u64 = 2;

#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    order: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let pool = PgPool::connect(&env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql(
        "SELECT pg_advisory_xact_lock(1);
         CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, message text NOT NULL);",
    )
    .execute(&pool)
    .await?;
    let store = SqlStore::postgres(pool.clone());
    store.migrate().await?;
    // Nobody waits for a consumer. So it rather waits for a slow database than has the message delivered again.
    let idempotency = Idempotency::builder(store).namespace("billing").store_timeout(Duration::from_secs(10)).build();

    let seconds = env::var("ACK_WAIT_SECONDS").ok().map_or(Ok(ACK_WAIT_SECONDS), |seconds| seconds.parse())?;
    let ack_wait = Duration::from_secs(seconds);
    let nats = jetstream::new(async_nats::connect(env::var("NATS_URL")?).await?);
    let stream = stream::Config { name: STREAM.into(), ..Default::default() };
    let consumer = pull::Config { durable_name: Some(CONSUMER.into()), ack_wait, ..Default::default() };
    let consumer = nats.get_or_create_stream(stream).await?.get_or_create_consumer(CONSUMER, consumer).await?;
    let mut messages = consumer.stream().max_messages_per_batch(1).messages().await?;
    println!("a consumer starts");
    while let Some(message) = messages.next().await {
        let message = message?;
        let mut handled = pin!(handle(&pool, &idempotency, &message, ack_wait));
        let answer = loop {
            match timeout(ack_wait / 4, &mut handled).await {
                Ok(answer) => break answer,
                // The order takes long. The message is not to be delivered again while this consumer lives.
                Err(_) => message.ack_with(AckKind::Progress).await?,
            }
        };
        message.ack_with(answer).await?;
    }
    Ok(())
}

/// Returns what to tell the broker about the message.
async fn handle(pool: &PgPool, idempotency: &Idempotency, message: &Message, ack_wait: Duration) -> AckKind {
    // The producer's own id. JetStream compares it too, but only with the messages of the last two minutes.
    let id = message.headers.as_ref().and_then(|headers| headers.get(NATS_MESSAGE_ID));
    let id = id.map(ToString::to_string).unwrap_or_default();
    let operation = idempotency.operation("orders.created").key(&id).fingerprint(&message.payload[..]);
    let effect = {
        let (pool, id) = (pool.clone(), id.clone());
        async move |claim: Claim| {
            let mut tx = pool.begin().await?;
            let insert = sqlx::query_scalar("INSERT INTO orders (message) VALUES ($1) RETURNING id").bind(id);
            let order = insert.fetch_one(&mut *tx).await?;
            claim.commit_value(tx, Receipt { order }).await
        }
    };
    // A dead consumer's claim is over before its message comes again.
    match operation.lease(ack_wait / 2).redelivered_after(ack_wait).run(effect).await {
        Ok(Outcome::Ran(Receipt { order }) | Outcome::Replayed(Receipt { order })) => {
            println!("{id} is order {order}");
            AckKind::Ack
        }
        // Another consumer has it. If that one dies, its claim is over by then.
        Ok(Outcome::Running { left }) => AckKind::Nak(Some(left)),
        Err(
            error
            @ (RunError::Effect(_) | RunError::StoreUnavailable | RunError::StoreFull | RunError::TooManyInFlight),
        ) => {
            eprintln!("{id} is delivered again: {error}");
            AckKind::Nak(Some(Duration::from_secs(1)))
        }
        // No delivery can succeed. A real consumer first copies the message to a stream that people look at.
        other => {
            eprintln!("{id} is put aside: {other:?}");
            AckKind::Term
        }
    }
}
