//! A failover of Postgres: the pool's connections lead to the old server, which still answers but has become read-only.
//! The name of the database already leads to the new one.

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{SqlStore, StoreError};
use sqlx::postgres::PgPoolOptions;
use support::{
    attempts::{attempt, win},
    postgres::Postgres,
    proxy::Proxy,
};

const CONNECTIONS: u32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_server_that_has_become_read_only_are_closed() {
    let (old, new) = tokio::task::block_in_place(|| (Postgres::start(), Postgres::start()));
    let proxy = Proxy::to(old.address()).await;
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).min_connections(CONNECTIONS);
    let pool = pool.connect(&Postgres::url_at(proxy.address(), "postgres")).await.expect("a pool");
    let store = SqlStore::postgres(pool.clone());
    store.migrate().await.expect("a table");
    win(&store, &attempt()).await;
    let direct = sqlx::PgPool::connect(&new.url()).await.expect("the new server");
    SqlStore::postgres(direct).migrate().await.expect("a table");

    // All connections of the pool are open when the old server stops writing.
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        open.push(pool.acquire().await.expect("a connection"));
    }
    for statement in ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"] {
        sqlx::query(statement).execute(&mut *open[0]).await.expect("answers");
    }
    for connection in &mut open {
        let read_only = "SELECT current_setting('transaction_read_only')";
        while sqlx::query_scalar::<_, String>(read_only).fetch_one(&mut **connection).await.expect("answers") != "on" {}
    }
    drop(open);
    let refused = store.claim(&attempt()).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");

    proxy.lead_to(new.address());
    // A refusal closes its connection, so there is at most one for each.
    let mut refusals = 0;
    while let Err(error) = store.claim(&attempt()).await {
        refusals += 1;
        assert!(matches!(error, StoreError::Refused(_)) && refusals <= CONNECTIONS, "{refusals}: {error:?}");
    }
}
