//! The database that keeps the claims fails: it is killed, is stopped, cannot be reached, refuses connections, or has
//! no free ones. Each fault comes before a handler runs, while it runs, and after it ended. The client always has an
//! answer within three seconds, and the handler runs once.

use std::time::Duration;

use axum::http::StatusCode;
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    Idempotency, IdempotencyBuilder, Outage, SqlStore,
    store::{ClaimOutcome, SaveOutcome},
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use support::{
    attempts::{attempt, rival, win},
    faults::{Breakable, Scene},
    phases,
    postgres::Postgres,
    proxy::Proxy,
};
use tokio::time::sleep;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Stopped,
    Silent,
    Refused,
    OutOfConnections,
}

/// How many connections the service has.
const CONNECTIONS: u32 = 4;

/// A Postgres behind a proxy.
struct Database {
    server: Postgres,
    proxy: Proxy,
    pool: PgPool,
    /// The service's connections, while something else uses them.
    taken: Vec<sqlx::pool::PoolConnection<sqlx::Postgres>>,
}

impl Breakable for Database {
    type Fault = Fault;

    async fn breaks(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => tokio::task::block_in_place(|| self.server.crash()),
            Fault::Stopped => self.server.freeze(),
            Fault::Silent => self.proxy.go_silent(),
            Fault::Refused => self.proxy.refuse(),
            Fault::OutOfConnections => {
                for _ in 0..CONNECTIONS {
                    self.taken.push(self.pool.acquire().await.expect("a connection"));
                }
            }
        }
    }

    fn heals(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => tokio::task::block_in_place(|| self.server.restart()),
            Fault::Stopped => self.server.thaw(),
            Fault::Silent | Fault::Refused => self.proxy.pass(),
            Fault::OutOfConnections => self.taken.clear(),
        }
    }
}

async fn scene() -> Scene<Database> {
    scene_with(|builder| builder).await
}

async fn scene_with(set: impl FnOnce(IdempotencyBuilder) -> IdempotencyBuilder) -> Scene<Database> {
    let server = tokio::task::block_in_place(Postgres::start);
    let proxy = Proxy::to(server.address()).await;
    let url = Postgres::url_at(proxy.address(), "postgres");
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&url).await.expect("a Postgres");
    let store = SqlStore::postgres(pool.clone());
    store.migrate().await.expect("a table");
    let idempotency = set(Idempotency::builder(store).namespace("faults")).build();
    Scene::new(Database { server, proxy, pool, taken: Vec::new() }, idempotency)
}

phases! {
    Killed: killed_before_a_handler, killed_during_a_handler, killed_after_a_handler;
    Stopped: stopped_before_a_handler, stopped_during_a_handler, stopped_after_a_handler;
    Silent: unreachable_before_a_handler, unreachable_during_a_handler, unreachable_after_a_handler;
    Refused: refused_before_a_handler, refused_during_a_handler, refused_after_a_handler;
    OutOfConnections: out_of_connections_before_a_handler, out_of_connections_during_a_handler,
        out_of_connections_after_a_handler;
}

/// The store is also the journal. A journal that cannot be read would refuse the request, but here it has to run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_may_run_unprotected_does_so_while_the_database_is_away() {
    let mut scene = scene_with(|builder| builder.outage(Outage::RunUnprotected)).await;
    scene.store.breaks(Fault::Refused).await;
    assert_eq!(scene.send().await, (StatusCode::CREATED, false));
    scene.store.heals(Fault::Refused);
    scene.stored().await;
    assert_eq!(scene.retried().await, (StatusCode::CREATED, true));
    assert_eq!(scene.count(), 1);
}

/// After a call was given up, sqlx would ask the silent server whether the connection still works, and wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_given_up_takes_no_place_in_the_pool() {
    let proxy = Proxy::to(Postgres::shared().address()).await;
    let url = Postgres::url_at(proxy.address(), &Postgres::shared().database().await);
    let pool = PgPoolOptions::new().max_connections(2).test_before_acquire(false).connect(&url).await.expect("a pool");
    let store = SqlStore::postgres(pool.clone()).delete_expired_by_hand();
    store.migrate().await.expect("a table");
    let both = (pool.acquire().await.expect("one"), pool.acquire().await.expect("two"));
    drop(both);
    // The pool asks a connection that is given back whether it still works. Its count may be below zero for a moment.
    while pool.num_idle() != 2 {
        sleep(Duration::from_millis(5)).await;
    }
    proxy.go_silent();
    for _ in 0..3 {
        let given_up = tokio::time::timeout(Duration::from_millis(300), store.claim(&attempt())).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }
    proxy.pass();
    let claimed = tokio::time::timeout(Duration::from_secs(60), store.claim(&attempt())).await;
    assert!(matches!(claimed, Ok(Ok(ClaimOutcome::Acquired(_)))), "{claimed:?}");
}

/// A save of steps is held up on its way, its caller gives it up, and a later save comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_arrive_late_do_not_replace_later_ones() {
    let proxy = Proxy::to(Postgres::shared().address()).await;
    let url = Postgres::url_at(proxy.address(), &Postgres::shared().database().await);
    let pool = PgPoolOptions::new().max_connections(1).test_before_acquire(false).connect(&url).await.expect("a pool");
    // A busy machine may need longer than the default for a new connection.
    let store = SqlStore::postgres(pool.clone()).delete_expired_by_hand().timeout(Duration::from_secs(10));
    store.migrate().await.expect("a table");
    let first = attempt();
    let fence = win(&store, &first).await;
    let save = async |steps: &'static str| store.save_steps(&first, fence, steps.into()).await;
    // The statement is prepared, so the next save is a single message.
    assert_eq!(save("one").await.expect("answers"), SaveOutcome::Saved);
    let process: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&pool).await.expect("a number");
    // The pool asks a connection that is given back whether it still works.
    while pool.num_idle() != 1 {
        sleep(Duration::from_millis(5)).await;
    }

    proxy.hold_requests();
    assert!(tokio::time::timeout(Duration::from_millis(300), save("two")).await.is_err(), "it is held up");
    assert_eq!(save("two and three").await.expect("answers"), SaveOutcome::Saved);
    store.abandon(&first).await.expect("answers");
    proxy.pass();
    // The server's process ends when it has carried out all that arrived.
    let there = format!("SELECT COUNT(*) FROM pg_stat_activity WHERE pid = {process}");
    while sqlx::query_scalar::<_, i64>(&there).fetch_one(&pool).await.expect("a number") > 0 {
        sleep(Duration::from_millis(5)).await;
    }
    match store.claim(&rival(&first)).await.expect("answers") {
        ClaimOutcome::Acquired(held) => assert_eq!(held.steps, "two and three"),
        other => panic!("{other:?}"),
    }
}
