//! A `PgBouncer` between the store and its Postgres.

use idempotent_runtime::{SqlStore, SqlStoreError, store::CompleteOutcome, testing::Claims};
use support::{
    attempts::{attempt, win},
    pgbouncer::PgBouncer,
    postgres::Postgres,
    sql_store::postgres_pool,
};

async fn store_behind(mode: &str) -> (PgBouncer, SqlStore) {
    let server = Postgres::shared();
    let database = server.database().await;
    let bouncer = tokio::task::block_in_place(|| PgBouncer::start(mode, server.address()));
    let pool = postgres_pool(&Postgres::url_at(bouncer.address(), &database), 3).await;
    (bouncer, SqlStore::postgres(pool))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_loses_prepared_statements_is_found_at_the_start() {
    let (_bouncer, store) = store_behind("transaction").await;
    match store.migrate().await {
        Err(error @ SqlStoreError::Pooler(_)) => assert!(error.to_string().contains("max_prepared_statements")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_session_mode_changes_nothing() {
    let (_bouncer, store) = store_behind("session").await;
    store.migrate().await.expect("a table");
    for _ in 0..20 {
        let attempt = attempt();
        let fence = win(&store, &attempt).await;
        assert_eq!(store.complete(&attempt, fence, "r".into()).await.expect("answers"), CompleteOutcome::Stored);
    }
}
