//! A connection that the user made: a manager that reconnects by itself, or a cluster client that finds the node of a
//! key.

use std::time::{Duration, Instant};

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    RedisStore,
    store::{ClaimOutcome, RedisStoreError},
    testing,
};
use redis::{
    aio::{ConnectionManager, ConnectionManagerConfig},
    cluster::ClusterClient,
};
use support::{
    attempts::{attempt, done, rival, warm_up, win},
    redis_cluster::cluster_of_one,
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
};
use tokio::time::sleep;

/// Its own timeouts are as long as those of [`patient`].
pub(crate) fn patient_manager() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new().set_response_timeout(Some(PATIENCE)).set_connection_timeout(Some(PATIENCE))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_client_keeps_the_promises() {
    let server = cluster_of_one(&[]);
    let client = ClusterClient::builder([server.url()]).use_protocol(redis::ProtocolVersion::RESP3);
    let client = client.response_timeout(PATIENCE).connection_timeout(PATIENCE);
    let connection = client.build().expect("a URL").get_async_connection().await.expect("connects");
    testing::conformance(patient().connection(connection).await.expect("is fit")).await;
}

/// A cluster client answers INFO for every node, and every node has to pass the check.
#[tokio::test]
async fn the_nodes_of_a_cluster_are_checked() {
    let server = cluster_of_one(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-random"]);
    let client = ClusterClient::builder([server.url()]).response_timeout(PATIENCE).connection_timeout(PATIENCE);
    let connection = client.build().expect("a URL").get_async_connection().await.expect("connects");
    let error = patient().connection(connection).await.expect_err("it evicts");
    assert!(matches!(error, RedisStoreError::Evicting { .. }), "{error:?}");
}

#[tokio::test]
async fn a_plain_connection_to_a_cluster_is_refused() {
    let server = cluster_of_one(&[]);
    let client = redis::Client::open(server.url()).expect("a URL");
    let connection = client.get_connection_manager_with_config(patient_manager()).await.expect("connects");
    let error = patient().connection(connection).await.expect_err("every other key is elsewhere");
    assert!(matches!(error, RedisStoreError::ClusterMode), "{error:?}");
}

/// The manager itself waits up to nine seconds. A call of the store waits for the store's timeout only.
#[tokio::test]
async fn a_managed_connection_fails_fast_and_comes_back() {
    let mut server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a URL");
    let settings = patient_manager().set_number_of_retries(1).set_max_delay(Duration::from_millis(100));
    let manager = ConnectionManager::new_with_config(client, settings).await.expect("connects");
    let store = RedisStore::builder().response_timeout(Duration::from_secs(1)).connection(manager).await;
    let store = store.expect("is fit");
    warm_up(&store).await;
    server.kill();
    for _ in 0..5 {
        let start = Instant::now();
        store.claim(&attempt()).await.expect_err("nobody is there");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    server.restart();
    let start = Instant::now();
    while store.claim(&attempt()).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not come back");
        sleep(Duration::from_millis(10)).await;
    }
    println!("served again after {:?}", start.elapsed());
    let key = done(&store).await;
    assert_eq!(store.claim(&rival(&key)).await.expect("answers"), ClaimOutcome::Done("record".into()));
    win(&store, &attempt()).await;
}
