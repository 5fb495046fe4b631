//! A database that stops answering: what asked it meanwhile keeps no connection of the service's.

use std::{convert::Infallible, time::Duration};

use idempotent_runtime::{Idempotency, MemoryStore, Outcome, SqlStore};
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgPoolOptions};
use support::{postgres::Postgres, proxy::Proxy};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy, a pool of two connections behind it that does not ask whether a connection still works, and the URL of the
/// database itself.
async fn behind_a_proxy() -> (Proxy, PgPool, String) {
    let (server, database) = (Postgres::shared(), Postgres::shared().database().await);
    let proxy = Proxy::to(server.address()).await;
    let url = Postgres::url_at(proxy.address(), &database);
    let pool = PgPoolOptions::new().max_connections(2).test_before_acquire(false).acquire_timeout(PATIENCE);
    (proxy, pool.connect(&url).await.expect("a pool"), Postgres::url_at(server.address(), &database))
}

/// Takes all connections of the pool.
async fn has_two_connections(pool: &PgPool) {
    let both = async { (pool.acquire().await.expect("one"), pool.acquire().await.expect("two")) };
    timeout(PATIENCE, both).await.expect("the pool has lost a connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_about_a_commit_that_are_given_up_take_no_connection() {
    let (proxy, pool, _) = behind_a_proxy().await;
    let journal = SqlStore::postgres(pool.clone()).timeout(Duration::from_millis(300)).delete_expired_by_hand();
    journal.migrate().await.expect("a table");
    let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(journal).build();
    let run = async |key: &str| idempotency.operation("sums").key(key).run(async |_| Ok::<_, Infallible>(1)).await;
    assert_eq!(run("before").await.expect("a result"), Outcome::Ran(1));
    has_two_connections(&pool).await;
    // sqlx asks the server whether a connection works before it is free again.
    while pool.num_idle() != 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.go_silent();
    for key in ["a", "b", "c"] {
        // A first attempt that has committed nothing is answered although the journal cannot be asked.
        assert_eq!(run(key).await.expect("a result"), Outcome::Ran(1));
    }
    proxy.pass();
    has_two_connections(&pool).await;
    assert_eq!(run("after").await.expect("a result"), Outcome::Ran(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_rows_are_deleted_again_when_the_database_answers_again() {
    let (proxy, pool, url) = behind_a_proxy().await;
    let mut database = PgConnection::connect(&url).await.expect("a connection");
    let table = format!("t{}", uuid::Uuid::new_v4().simple());
    let store = SqlStore::postgres(pool.clone()).table(&table).expect("a name");
    let store = store.delete_expired_every(Duration::from_millis(50));
    store.migrate().await.expect("a table");
    let idempotency = Idempotency::new(store);
    let run = async |key: &str| {
        let operation = idempotency.operation("sums").key(key).ttl(Duration::from_secs(1));
        operation.run(async |_| Ok::<_, Infallible>(1)).await
    };
    assert_eq!(run("before").await.expect("a result"), Outcome::Ran(1));
    // The next deletion is sent and gets no answer.
    proxy.go_silent();
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.pass();
    let rows = format!("SELECT count(*) FROM {table}");
    let deleted = async {
        while sqlx::query_scalar::<_, i64>(&rows).fetch_one(&mut database).await.expect("rows") > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, deleted).await.expect("no row is deleted any more");
}
