//! The journal's table: how it is created, which names it may have, when its rows expire and who deletes them.

use futures_util::future::join_all;
use idempotent_runtime::{Idempotency, MemoryStore, SqlJournal};
use support::{
    app::{App, NewPayment, Way},
    ledger::Ledger,
    postgres::Postgres,
    shop::{CREATED, Shop, payment},
};

async fn on_sqlite() -> (tempfile::TempDir, Ledger) {
    let directory = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::connect(&format!("sqlite://{}", directory.path().join("ledger.db").display())).await;
    (directory, ledger)
}

async fn on_postgres() -> Ledger {
    Ledger::connect(&Postgres::shared().new_url().await).await
}

/// A statement in the database's own SQL that makes every row expire a moment ago.
fn expire_all(ledger: &Ledger) -> &'static str {
    match ledger {
        Ledger::Sqlite(_) => {
            "UPDATE idempotency_journal SET expires_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000 - 1"
        }
        Ledger::Postgres(_) => "UPDATE idempotency_journal SET expires_at = now() - interval '1 ms'",
    }
}

async fn an_expired_row_counts_for_nothing_and_is_replaced(ledger: Ledger) {
    Shop::open(&ledger).await.pay("k", &payment("a")).await;
    ledger.execute(expire_all(&ledger)).await;
    let refused = Shop::open(&ledger).await.pay("k", &NewPayment { refuse: true, ..payment("b") }).await;
    assert_eq!((refused.status, refused.body.as_str()), (422, "refused"));
    let restarted = Shop::open(&ledger).await;
    let again = restarted.pay("k", &payment("b")).await;
    assert_eq!((again.status, again.replayed, ledger.rows("b").await), (CREATED, false, 1));
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_journal").await, 1);
    let replayed = Shop::open(&ledger).await.pay("k", &payment("b")).await;
    assert_eq!((replayed.replayed, replayed.body), (true, again.body));
}

async fn rows_last_for_the_ttl_by_the_databases_clock(ledger: Ledger) {
    Shop::open(&ledger).await.pay("k", &payment("a")).await;
    let left = match ledger {
        Ledger::Sqlite(_) => {
            "SELECT expires_at / 1000 - CAST(strftime('%s', 'now') AS INTEGER) FROM idempotency_journal"
        }
        Ledger::Postgres(_) => "SELECT extract(epoch FROM expires_at - now())::bigint FROM idempotency_journal",
    };
    let left = ledger.number(left).await;
    assert!((86_300..=86_401).contains(&left), "{left} s are left of a day");
}

async fn the_reaper_deletes_what_expired_in_small_batches_and_nothing_else(ledger: Ledger) {
    let shop = Shop::open(&ledger).await;
    for key in ["a", "b", "c", "d", "e"] {
        shop.pay(key, &payment(key)).await;
    }
    let journal = ledger.journal();
    assert_eq!(journal.reap(10).await.expect("reaps"), 0);
    ledger.execute(expire_all(&ledger)).await;
    shop.pay("live", &payment("live")).await;
    assert_eq!(journal.reap(3).await.expect("reaps"), 3);
    assert_eq!(journal.reap(3).await.expect("reaps"), 2);
    assert_eq!(journal.reap(3).await.expect("reaps"), 0);
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_journal").await, 1);
    ledger.execute(expire_all(&ledger)).await;
    let reaper = tokio::spawn(journal.keep_small(std::time::Duration::from_millis(10)));
    while ledger.number("SELECT COUNT(*) FROM idempotency_journal").await > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    reaper.abort();
}

async fn processes_that_start_together_migrate_once(ledger: Ledger) {
    let journal = || {
        let journal = ledger.journal().table("fresh");
        async move { journal.expect("a name").migrate().await }
    };
    for migrated in join_all((0..8).map(|_| journal())).await {
        migrated.expect("migrates");
    }
    assert_eq!(ledger.number("SELECT COUNT(*) FROM fresh_version").await, 1);
    assert_eq!(ledger.number("SELECT COUNT(*) FROM fresh").await, 0);
}

async fn the_schema_can_be_run_by_hand_under_a_name_of_ones_own(ledger: Ledger) {
    let name = if matches!(ledger, Ledger::Postgres(_)) { "Billing.order" } else { "order" };
    if matches!(ledger, Ledger::Postgres(_)) {
        ledger.execute("CREATE SCHEMA \"Billing\"").await;
    }
    let journal = ledger.journal().table(name).expect("a name");
    ledger.execute(&journal.schema()).await;
    // A table that was made by hand is not made again.
    journal.migrate().await.expect("migrates");
    let serve = async || {
        let idempotency = Idempotency::builder(MemoryStore::new()).journal(journal.clone()).build();
        Shop::serve(App::new(idempotency, ledger.clone(), Way::Commit)).await
    };
    let first = serve().await.pay("k", &payment("a")).await;
    let again = serve().await.pay("k", &payment("a")).await;
    assert_eq!((again.replayed, again.body, ledger.rows("a").await), (true, first.body, 1));
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_journal").await, 0);
}

async fn without_its_table_nothing_is_committed_and_nothing_is_guessed(ledger: Ledger) {
    ledger.execute("DROP TABLE idempotency_journal").await;
    let answer = Shop::open(&ledger).await.pay("k", &payment("a")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "journal-unavailable"));
    assert_eq!(ledger.rows("a").await, 0);
}

macro_rules! on_both_databases {
    ($($scenario:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                let (_directory, ledger) = super::on_sqlite().await;
                super::$scenario(ledger).await;
            })*
        }
        mod postgresql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(super::on_postgres().await).await;
            })*
        }
    };
}

on_both_databases! {
    an_expired_row_counts_for_nothing_and_is_replaced
    rows_last_for_the_ttl_by_the_databases_clock
    the_reaper_deletes_what_expired_in_small_batches_and_nothing_else
    processes_that_start_together_migrate_once
    the_schema_can_be_run_by_hand_under_a_name_of_ones_own
    without_its_table_nothing_is_committed_and_nothing_is_guessed
}

#[tokio::test]
async fn the_documented_schema_is_the_one_that_is_run() {
    let pool = sqlx::PgPool::connect_lazy("postgres://nobody@127.0.0.1/none").expect("a URL");
    let schema = SqlJournal::postgres(pool).schema();
    let documentation = include_str!("../../idempotent-runtime/src/journal/sql.rs");
    for line in schema.lines() {
        assert!(documentation.contains(&format!("/// {line}\n")), "not in the documentation: {line}");
    }
}
