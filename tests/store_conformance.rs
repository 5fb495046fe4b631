//! Every store here keeps what `Store` promises, and the suite sees it when one does not.

mod support;

use std::time::Duration;

use idempotent_runtime::{MemoryStore, RedisStore, testing};
use support::redis_server::RedisServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_promises() {
    testing::conformance(MemoryStore::new()).await;
}

/// Far more patience than a service has: a busy machine is no broken promise.
fn patient() -> idempotent_runtime::RedisStoreBuilder {
    RedisStore::builder().response_timeout(Duration::from_secs(10)).connect_timeout(Duration::from_secs(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_keeps_the_promises() {
    let server = RedisServer::start();
    testing::conformance(patient().connect(&server.url()).await.expect("connects")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_keeps_the_promises_on_a_given_connection() {
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a URL");
    let connection = client.get_connection_manager().await.expect("connects");
    testing::conformance(patient().connection(connection).await.expect("is fit")).await;
}
