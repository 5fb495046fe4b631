//! A Redis Cluster of six nodes, reached by [`RedisStore::connect_cluster`]: the same promises, slots that move, and
//! masters that die or stand still under load.

use std::time::{Duration, Instant};

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{RedisStore, store::RedisStoreError, testing};
use support::{
    attempts::{attempt, served_again, win},
    load::{Load, goes_on_under_load},
    redis_cluster::RedisCluster,
    redis_server::RedisServer,
    redis_store::{self, patient},
};

async fn connected(cluster: &RedisCluster) -> RedisStore {
    patient().connect_cluster(cluster.urls()).await.expect("is fit")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_keeps_the_promises() {
    let cluster = RedisCluster::start();
    testing::conformance(connected(&cluster).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_under_load_cost_no_second_execution() {
    let cluster = RedisCluster::start();
    let load = Load::start(connected(&cluster).await, 8);
    load.charges(100).await;
    let fault = Instant::now();
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.move_slots_of("moved", 1_000);
        cluster
    });
    let _cluster = cluster.await.expect("reshards");
    println!("1,000 slots moved in {:?}", fault.elapsed());
    load.charges(200).await;
    let report = load.finish(fault, Duration::ZERO).await;
    println!("{report}");
    assert_eq!((report.duplicates, report.executions), (0, report.keys), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_is_replaced_under_load() {
    a_master_is_replaced_under_load(RedisServer::kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_stands_still_is_replaced_under_load() {
    a_master_is_replaced_under_load(|master| master.freeze()).await;
}

async fn a_master_is_replaced_under_load(lose: impl FnOnce(&mut RedisServer)) {
    let mut cluster = RedisCluster::start_watchful();
    let connect = async || RedisStore::connect_cluster(cluster.urls()).await;
    let (store, probe) = (redis_store::connected(&connect).await, redis_store::connected(&connect).await);
    let key = attempt().key;
    let lose = || lose(cluster.master_of(key.as_str()));
    goes_on_under_load(store, lose, async || served_again(async || probe.lookup(&key).await).await).await;
}

/// Of a store, a master of whose cluster does not answer: short, since the test waits for it again and again, and long
/// enough for a busy machine.
const PATIENCE_OF_A_CALL: Duration = Duration::from_secs(1);

/// The slots of the other masters are served the whole time, if the cluster has `cluster-require-full-coverage no`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_master_stands_still_the_others_serve() {
    let cluster = RedisCluster::start();
    let store = RedisStore::builder().response_timeout(PATIENCE_OF_A_CALL).connect_timeout(PATIENCE_OF_A_CALL);
    let store = store.connect_cluster(cluster.urls()).await.expect("is fit");
    the_others_serve(cluster, store).await;
}

/// As above, with a client that the user made. Its own timeout is that of one response.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_master_stands_still_the_others_serve_a_given_client() {
    let cluster = RedisCluster::start();
    let client = redis::cluster::ClusterClient::builder(cluster.urls())
        .use_protocol(redis::ProtocolVersion::RESP3)
        .response_timeout(PATIENCE_OF_A_CALL)
        .connection_timeout(PATIENCE_OF_A_CALL)
        .retries(1);
    let connection = client.build().expect("URLs").get_async_connection().await.expect("connects");
    let store = RedisStore::builder().response_timeout(PATIENCE_OF_A_CALL).connection(connection).await;
    let store = store.expect("is fit");
    the_others_serve(cluster, store).await;
}

async fn the_others_serve(mut cluster: RedisCluster, store: RedisStore) {
    let lost = attempt().key;
    let port = cluster.master_of(lost.as_str()).port();
    let elsewhere = loop {
        let other = attempt();
        if cluster.master_of(other.key.as_str()).port() != port {
            break other;
        }
    };
    win(&store, &elsewhere).await;
    cluster.master_of(lost.as_str()).freeze();
    let (mut refused, mut failed) = (0, 0);
    for _ in 0..3 {
        // As many failures in a row as make the store suspect a connection.
        for _ in 0..3 {
            refused += usize::from(store.lookup(&lost).await.is_err());
        }
        failed += usize::from(store.lookup(&elsewhere.key).await.is_err());
    }
    assert!(refused > 0, "the slot has no master");
    assert_eq!(failed, 0, "and this one has");
}

#[tokio::test]
async fn a_server_that_is_no_cluster_is_refused() {
    let server = RedisServer::start();
    let error = patient().connect_cluster([server.url()]).await.expect_err("it has no slots");
    assert!(!matches!(error, RedisStoreError::Url(_)), "{error:?}");
}

#[tokio::test]
async fn no_node_at_all_is_a_wrong_url() {
    let error = RedisStore::connect_cluster(Vec::<String>::new()).await.expect_err("nobody is named");
    assert!(matches!(error, RedisStoreError::Url(_)), "{error:?}");
}
