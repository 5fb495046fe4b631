//! The table of commits beside another store: which names it may have, when its rows expire and who deletes them.

use idempotent_runtime::{Idempotency, MemoryStore};
use support::{
    app::{App, NewPayment, Way},
    ledger::Ledger,
    postgres::Postgres,
    shop::{CREATED, Shop, payment},
};

async fn on_sqlite() -> (tempfile::TempDir, Ledger) {
    let directory = support::directory::in_memory();
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
            "UPDATE idempotency_keys SET expires_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000 - 1"
        }
        Ledger::Postgres(_) => "UPDATE idempotency_keys SET expires_at = now() - interval '1 ms'",
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
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys").await, 1);
    let replayed = Shop::open(&ledger).await.pay("k", &payment("b")).await;
    assert_eq!((replayed.replayed, replayed.body), (true, again.body));
}

async fn rows_last_for_the_ttl_by_the_databases_clock(ledger: Ledger) {
    Shop::open(&ledger).await.pay("k", &payment("a")).await;
    let left = match ledger {
        Ledger::Sqlite(_) => "SELECT expires_at / 1000 - CAST(strftime('%s', 'now') AS INTEGER) FROM idempotency_keys",
        Ledger::Postgres(_) => "SELECT extract(epoch FROM expires_at - now())::bigint FROM idempotency_keys",
    };
    let left = ledger.number(left).await;
    assert!((86_300..=86_401).contains(&left), "{left} s are left of a day");
}

async fn what_has_expired_is_deleted_in_small_batches_and_nothing_else(ledger: Ledger) {
    let shop = Shop::open(&ledger).await;
    for key in ["a", "b", "c", "d", "e"] {
        shop.pay(key, &payment(key)).await;
    }
    let commits = ledger.store();
    assert_eq!(commits.delete_expired(10).await.expect("answers"), 0);
    ledger.execute(expire_all(&ledger)).await;
    shop.pay("live", &payment("live")).await;
    assert_eq!(commits.delete_expired(3).await.expect("answers"), 3);
    assert_eq!(commits.delete_expired(3).await.expect("answers"), 2);
    assert_eq!(commits.delete_expired(3).await.expect("answers"), 0);
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys").await, 1);
}

async fn the_schema_can_be_run_by_hand_under_a_name_of_ones_own(ledger: Ledger) {
    let name = if matches!(ledger, Ledger::Postgres(_)) { "Billing.order" } else { "order" };
    if matches!(ledger, Ledger::Postgres(_)) {
        ledger.execute("CREATE SCHEMA \"Billing\"").await;
    }
    let journal = ledger.store().table(name).expect("a name");
    ledger.execute(&journal.schema()).await;
    // A table that was made by hand is not made again.
    journal.migrate().await.expect("migrates");
    let serve = async || {
        let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(journal.clone()).build();
        Shop::serve(App::new(idempotency, ledger.clone(), Way::Commit)).await
    };
    let first = serve().await.pay("k", &payment("a")).await;
    let again = serve().await.pay("k", &payment("a")).await;
    assert_eq!((again.replayed, again.body, ledger.rows("a").await), (true, first.body, 1));
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys").await, 0);
}

async fn without_its_table_nothing_is_committed_and_nothing_is_guessed(ledger: Ledger) {
    ledger.execute("DROP TABLE idempotency_keys").await;
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
    what_has_expired_is_deleted_in_small_batches_and_nothing_else
    the_schema_can_be_run_by_hand_under_a_name_of_ones_own
    without_its_table_nothing_is_committed_and_nothing_is_guessed
}
