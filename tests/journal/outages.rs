//! Faults of the journal's database: COMMITs without an answer, no connection, no answer at all. Also a collision at
//! every isolation level.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use idempotent_runtime::{Idempotency, MemoryStore, SqlStore};
use sqlx::postgres::PgPoolOptions;
use support::{
    app::{App, NewPayment, Way},
    ledger::Ledger,
    postgres::Postgres,
    proxy::{Loss, Proxy},
    shop::{CREATED, Got, Shop, again_while, payment, send},
};

support::every_lost_commit!(async |ledger: Ledger, way| Shop::with(MemoryStore::new(), &ledger, way).await);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_commit_is_settled_though_the_handler_gave_up_waiting_for_it() {
    let server = Postgres::shared();
    let database = server.database().await;
    let proxy = Proxy::to(server.address()).await;
    let ledger = Ledger::connect(&Postgres::url_at(proxy.address(), &database)).await;
    let shop = Shop::open(&ledger).await;
    proxy.lose_next_commit(Loss::ArrivesLate);
    let got = shop.pay("k", &NewPayment { give_up_ms: Some(200), ..payment("a") }).await;
    assert!(proxy.has_lost());
    assert_eq!((got.status, ledger.rows("a").await), (CREATED, 1), "{got:?}");
}

/// A shop whose journal is behind a proxy. If the journal does not answer within 300 ms, it counts as down.
async fn shop_behind(proxy: &Proxy, database: &str) -> Shop {
    let url = Postgres::url_at(proxy.address(), database);
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(2)).connect(&url).await.expect("a pool");
    let ledger = Ledger::of_postgres(pool.clone()).await;
    let journal = SqlStore::postgres(pool).timeout(Duration::from_millis(300));
    let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(journal).build();
    Shop::serve(App::new(idempotency, ledger, Way::Commit)).await
}

/// Pays, again after a pause for as long as the journal counts as down: a busy machine may hold an answer up.
async fn pay_until_answered(shop: &Shop, key: &str, new: &NewPayment) -> Got {
    let pay = || send(&shop.client, shop.address, "/payments", Some(key), None, new);
    again_while(|got: &Got| got.status == 503, pay).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_a_commit_is_not_answered_while_the_journal_cannot_be_read() {
    let server = Postgres::shared();
    let database = server.database().await;
    let proxy = Proxy::to(server.address()).await;
    // The restarted shop has a new store, which does not know that this was paid.
    let ledger = Ledger::connect(&Postgres::url_at(server.address(), &database)).await;
    let paid = Shop::open(&ledger).await.pay("k", &payment("a")).await;
    let restarted = shop_behind(&proxy, &database).await;
    let refused = NewPayment { refuse: true, ..payment("a") };

    for down in [Proxy::refuse, Proxy::go_silent] {
        down(&proxy);
        let start = Instant::now();
        let answer = restarted.pay("k", &refused).await;
        assert_eq!((answer.status, answer.problem().as_str()), (503, "journal-unavailable"));
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        // Nothing was stored. The next attempt knows that this one died, and reads the journal before it runs.
        let answer = restarted.pay("k", &refused).await;
        assert_eq!((answer.status, answer.problem().as_str()), (503, "journal-unavailable"));
        proxy.refuse();
        proxy.pass();
    }
    let other = pay_until_answered(&restarted, "k", &refused).await;
    assert_eq!((other.status, other.problem().as_str()), (422, "key-reused"), "{other:?}");
    let again = pay_until_answered(&restarted, "k", &payment("a")).await;
    assert_eq!((again.status, again.replayed, again.body), (CREATED, true, paid.body));
    assert_eq!(restarted.app.counts.recovering.load(SeqCst), 0, "no handler ran while nobody could know");
    assert_eq!(restarted.app.counts.runs.load(SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_a_database_is_an_error_and_runs_again_later() {
    let server = Postgres::shared();
    let database = server.database().await;
    let proxy = Proxy::to(server.address()).await;
    let shop = shop_behind(&proxy, &database).await;
    let new = payment("a");
    // The journal is found ready.
    assert_eq!(pay_until_answered(&shop, "first", &payment("first")).await.status, CREATED);
    // The database becomes unreachable when the handler is about to commit.
    let paying = send(&shop.client, shop.address, "/payments", Some("k"), Some("after-effect"), &new);
    let (answer, ()) = tokio::join!(paying, async {
        shop.app.stops.reached.notified().await;
        proxy.refuse();
        shop.app.stops.go_on.notify_one();
    });
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.problem().as_str()), (503, "journal-unavailable"));
    proxy.pass();
    let again = pay_until_answered(&shop, "k", &new).await;
    assert_eq!((again.status, again.replayed), (CREATED, false));
    assert_eq!(shop.app.ledger.rows("a").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_isolation_level_a_collision_gives_the_winners_response() {
    let ledger = Ledger::connect(&Postgres::shared().new_url().await).await;
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let shops = join_all((0..5).map(|_| Shop::open(&ledger))).await;
        let new = NewPayment { isolation: Some(level.to_owned()), pause_ms: 100, ..payment(level) };
        let answers = join_all(shops.iter().map(|shop| shop.pay(level, &new))).await;
        assert!(answers.iter().all(|answer| answer.status == CREATED), "{level}: {answers:?}");
        assert!(answers.iter().all(|answer| answer.body == answers[0].body), "{level}: {answers:?}");
        assert_eq!(answers.iter().filter(|answer| answer.replayed).count(), 4, "{level}: {answers:?}");
        assert_eq!(ledger.rows(level).await, 1);
        let told: usize = shops.iter().map(|shop| shop.app.counts.rolled_back.load(SeqCst)).sum();
        assert_eq!(told, 4, "{level}: every handler that was rolled back was told so");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_another_kind_of_database_is_refused() {
    let directory = support::directory::in_memory();
    let sqlite = Ledger::connect(&format!("sqlite://{}", directory.path().join("l.db").display())).await;
    let postgres = Ledger::connect(&Postgres::shared().new_url().await).await;
    let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(postgres.store()).build();
    let shop = Shop::serve(App::new(idempotency, sqlite.clone(), Way::Commit)).await;
    let answer = shop.pay("k", &payment("a")).await;
    assert!(answer.status == 500 && answer.body.contains("OtherDatabase"), "{answer:?}");
    assert_eq!(sqlite.rows("a").await, 0);
}
