//! Makes a router with one handler, for every variant.

use std::time::Duration;

use axum::{Json, Router, response::IntoResponse, routing::post};
use idempotent_runtime::{Idempotency, MemoryStore, RedisStore, idempotent};

use crate::{
    by_hand,
    case::{Backend, Variant},
    payment::{NewPayment, PATH, pay},
};

async fn bare(Json(new): Json<NewPayment>) -> impl IntoResponse {
    pay(new)
}

#[idempotent(ttl = "60s")]
async fn attribute(Json(new): Json<NewPayment>) -> impl IntoResponse {
    pay(new)
}

/// `redis` is the URL of the server. The memory store does not use it.
pub(crate) async fn router(variant: Variant, backend: Backend, redis: &str) -> Router {
    match (variant, backend) {
        (Variant::Bare, _) => Router::new().route(PATH, post(bare)),
        (Variant::ByHand, Backend::Memory) => {
            Router::new().route(PATH, post(by_hand::memory)).with_state(by_hand::Map::new())
        }
        (Variant::ByHandExtracted, Backend::Memory) => {
            Router::new().route(PATH, post(by_hand::memory_extracted)).with_state(by_hand::Map::new())
        }
        (Variant::ByHand, Backend::Redis) => {
            Router::new().route(PATH, post(by_hand::redis)).with_state(connect(redis).await)
        }
        (Variant::ByHandExtracted, Backend::Redis) => {
            Router::new().route(PATH, post(by_hand::redis_extracted)).with_state(connect(redis).await)
        }
        (Variant::Attribute, Backend::Memory) => {
            let store = MemoryStore::builder().max_records(usize::MAX).max_bytes(usize::MAX).build();
            Router::new().route(PATH, post(attribute)).with_state(Idempotency::new(store))
        }
        (Variant::Attribute, Backend::Redis) => {
            // Under valgrind the first connection takes longer than the default timeout.
            let store = RedisStore::builder().connect_timeout(Duration::from_secs(10));
            let store = store.connect(redis).await.unwrap();
            Router::new().route(PATH, post(attribute)).with_state(Idempotency::new(store))
        }
    }
}

async fn connect(redis: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("{redis}?protocol=resp3")).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}
