//! Checks that every store keeps the promises of `Store`, and that the suite finds a store that does not.

#[path = "../examples/own_store/directory.rs"]
mod directory;

use idempotent_runtime::{MemoryStore, testing};
use redis::aio::ConnectionManagerConfig;
use support::{
    faulty_store::{Fault, Faulty},
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
    sql_store,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_promises() {
    testing::conformance(MemoryStore::new()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_keeps_the_promises_in_paused_time() {
    testing::conformance(MemoryStore::new()).await;
}

/// A service may keep a store behind an `Arc`, to look into it as well.
#[tokio::test(start_paused = true)]
async fn a_store_behind_an_arc_keeps_the_promises() {
    testing::conformance(std::sync::Arc::new(MemoryStore::new())).await;
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
    let settings = ConnectionManagerConfig::new().set_response_timeout(Some(PATIENCE));
    let settings = settings.set_connection_timeout(Some(PATIENCE));
    let connection = client.get_connection_manager_with_config(settings).await.expect("connects");
    testing::conformance(patient().connection(connection).await.expect("is fit")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_keeps_the_promises() {
    testing::conformance(sql_store::on_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_keeps_the_promises() {
    let (store, _directory) = sql_store::on_sqlite().await;
    testing::conformance(store).await;
}

/// The example of a store that somebody writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_of_ones_own_keeps_the_promises() {
    let directory = support::directory::in_memory();
    testing::conformance(directory::DirectoryStore::open(directory.path()).expect("opens")).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_with_only_what_it_must_have_keeps_the_promises() {
    testing::conformance(Faulty::new(Fault::None)).await;
}

/// The suite names the promise that the store breaks.
#[tokio::test(start_paused = true)]
async fn every_fault_is_named() {
    for (fault, promise) in [
        (Fault::ReadThenWrite, "of 100 concurrent attempts exactly one gets the key"),
        (Fault::AbsentIgnored, "another request never gets the key, and none of its record"),
        (Fault::OwnerIgnored, "a completion by another token changes nothing"),
        (Fault::OwnerIgnored, "a renewal by another token changes nothing"),
        (Fault::ChangeIgnored, "completing twice keeps the first record"),
        (Fault::ChangeIgnored, "every swap is compared, numbered and timed"),
        (Fault::StampIgnored, "every swap is compared, numbered and timed"),
        (Fault::LatenessIgnored, "every swap is compared, numbered and timed"),
        (Fault::BodyDropped, "saving steps starts no lease, and a renewal keeps them"),
        (Fault::ExpiryRestarted, "saving steps starts no lease, and a renewal keeps them"),
        (Fault::TimeStandsStill, "a key is taken over when its lease is over, and not before"),
        (Fault::ForgottenEarly, "a finished record lives for its ttl, counted from completion"),
        (Fault::FenceNotRaised, "a finished record lives for its ttl, counted from completion"),
        (Fault::MarkDropped, "every swap is compared, numbered and timed"),
        (Fault::BodyAsText, "a finished record is given back byte for byte"),
        (Fault::ClockStopped, "the store's clock runs"),
    ] {
        let broken = testing::broken_promises(Faulty::new(fault)).await;
        let named: Vec<&str> = broken.iter().map(|broken| broken.promise).collect();
        assert!(named.contains(&promise), "{fault:?} is not seen as {promise:?}, but as {named:?}");
    }
}
