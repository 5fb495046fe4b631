//! Checks that every store keeps the promises of `Store`, and that the suite finds a store that does not.

#[path = "../examples/own_store/directory.rs"]
mod directory;

use idempotent_runtime::{MemoryStore, testing};
use support::{
    faulty_store::{Fault, Faulty},
    redis_server::RedisServer,
    redis_store::patient,
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
    let connection = client.get_connection_manager().await.expect("connects");
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
    let directory = tempfile::tempdir().expect("a directory");
    testing::conformance(directory::DirectoryStore::open(directory.path()).expect("opens")).await;
}

/// The suite names the promise that the store breaks.
#[tokio::test(start_paused = true)]
async fn every_fault_is_named() {
    for (fault, promise) in [
        (Fault::ReadThenWrite, "of 100 concurrent attempts exactly one gets the key"),
        (Fault::TokenOfTheRetryIsNew, "a claim repeated with the same token is the same claim"),
        (
            Fault::TokenOfTheRetryIsNew,
            "a takeover repeated with the same token is the same claim, and still recovering",
        ),
        (Fault::FingerprintIgnored, "another request never gets the key, and none of its record"),
        (Fault::EndsByKeyAlone, "a claim ended by another token goes on"),
        (Fault::EndsByKeyAlone, "a completion by another token changes nothing"),
        (Fault::EndsByKeyAlone, "a completion after a takeover is lost"),
        (Fault::EndsByKeyAlone, "a renewal by another token changes nothing"),
        (Fault::LeaseOfNoLength, "a key is taken over when its lease is over, and not before"),
        (Fault::LeaseOfNoLength, "an attempt that meets a running one is told what is left of its lease"),
        (Fault::RecoveringForgotten, "a key is taken over when its lease is over, and not before"),
        (Fault::RecoveringForgotten, "an abandoned lease is over at once, and the attempt is known to have died"),
        (Fault::RefusalIgnored, "a dead attempt is not taken over by one that refuses to"),
        (Fault::FenceStandsStill, "a fence is larger than every earlier one of its key"),
        (Fault::TtlFromTheClaim, "a finished record lives for its ttl, counted from completion"),
        (Fault::DeadForgottenWithTheLease, "a dead attempt is known for its ttl after the lease"),
        (Fault::RenewalDoesNothing, "a renewed lease starts anew, and is not taken over"),
        (Fault::RenewalDoesNothing, "renewing a lost claim creates it again with its fence"),
        (Fault::RecordAsText, "a finished record is given back byte for byte"),
        (Fault::LookClaims, "a look shows each state and changes none"),
    ] {
        let broken = testing::broken_promises(Faulty::new(fault)).await;
        let named: Vec<&str> = broken.iter().map(|broken| broken.promise).collect();
        assert!(named.contains(&promise), "{fault:?} is not seen as {promise:?}, but as {named:?}");
    }
}
