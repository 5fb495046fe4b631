//! `Claim::commit` when the store is the service's own database: the handler's transaction writes the response into the
//! row of the claim. There is one table, one payment and one answer.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use support::{
    app::{NewPayment, Way},
    journal_process::{Claims, JournalServer},
    ledger::Ledger,
    postgres::Postgres,
    shop::{CREATED, Got, Shop, client, insist, payment, send},
};
use tokio::time::sleep;

/// The program that a test stops with SIGSTOP.
const SERVER: &str = env!("CARGO_BIN_EXE_journal-server");

/// Runs each scenario on both databases.
macro_rules! on_both_databases {
    ($($scenario:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                let directory = support::directory::in_memory();
                let url = format!("sqlite://{}", directory.path().join("ledger.db").display());
                super::$scenario(super::Ledger::connect(&url).await).await;
            })*
        }
        mod postgresql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                let url = super::Postgres::shared().new_url().await;
                super::$scenario(super::Ledger::connect(&url).await).await;
            })*
        }
    };
}

on_both_databases! {
    a_response_in_the_transaction_is_replayed_also_after_a_restart
    a_response_without_a_transaction_is_stored_as_in_any_store
    an_attempt_whose_key_another_one_has_commits_nothing
    an_attempt_whose_key_another_one_has_finished_gets_its_response
    what_follows_the_commit_does_not_change_the_answer
    a_second_commit_of_one_attempt_is_an_error_and_changes_nothing
    a_response_that_is_too_large_settles_the_key_without_its_body
    a_recorded_response_that_was_not_committed_is_not_sent
    another_request_under_the_key_is_refused
    a_hundred_duplicates_pay_once
}

async fn a_response_in_the_transaction_is_replayed_also_after_a_restart(ledger: Ledger) {
    for (way, key) in [(Way::Commit, "commit"), (Way::Record, "record"), (Way::Entry, "entry")] {
        let shop = Shop::on_its_database(&ledger, way).await;
        let first = shop.pay(key, &payment(key)).await;
        assert_eq!((first.status, first.replayed), (CREATED, false), "{way:?}: {first:?}");
        let restarted = Shop::on_its_database(&ledger, way).await;
        for shop in [&shop, &restarted] {
            let again = shop.pay(key, &payment(key)).await;
            assert_eq!((again.status, again.replayed, &again.body), (CREATED, true, &first.body), "{way:?}");
            assert_eq!(again.location, first.location);
        }
        assert_eq!(restarted.app.counts.runs.load(SeqCst), 0, "{way:?}");
        assert_eq!(ledger.rows(key).await, 1, "{way:?}");
    }
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys WHERE state = 2").await, 3);
}

async fn a_response_without_a_transaction_is_stored_as_in_any_store(ledger: Ledger) {
    let shop = Shop::on_its_database(&ledger, Way::Commit).await;
    let refuse = NewPayment { refuse: true, ..payment("a") };
    let first = shop.pay("k", &refuse).await;
    let again = shop.pay("k", &refuse).await;
    assert_eq!((first.status, again.status, again.replayed), (422, 422, true));
}

/// Makes a payment whose transaction begins when the test lets it.
async fn pay_late(shop: &Shop, key: &str, new: &NewPayment) -> Got {
    let point = Some("before-transaction");
    send(&shop.client, shop.address, "/payments", Some(key), point, new).await.expect("an answer")
}

/// Waits until an attempt is running.
async fn claimed(ledger: &Ledger) {
    while ledger.number("SELECT COUNT(*) FROM idempotency_keys WHERE state = 0").await == 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Changes the row as a takeover does. The attempt that took the key over is then still running.
async fn take_the_key(ledger: &Ledger) {
    let token = if matches!(ledger, Ledger::Sqlite(_)) { "zeroblob(16)" } else { "decode(repeat('00', 16), 'hex')" };
    ledger.execute(&format!("UPDATE idempotency_keys SET token = {token}, fence = fence + 1, state = 1")).await;
}

async fn an_attempt_whose_key_another_one_has_commits_nothing(ledger: Ledger) {
    for (way, key) in [(Way::Commit, "commit"), (Way::Record, "record")] {
        let shop = Shop::on_its_database(&ledger, way).await;
        let new = payment(key);
        let (late, ()) = tokio::join!(pay_late(&shop, key, &new), async {
            claimed(&ledger).await;
            take_the_key(&ledger).await;
            shop.app.stops.go_on.notify_one();
        });
        assert!(late.status == 500 && late.body.contains("Lost"), "{way:?}: {late:?}");
        assert_eq!(ledger.rows(key).await, 0, "{way:?}");
        let retry = shop.pay(key, &new).await;
        assert_eq!((retry.status, retry.problem().as_str()), (409, "in-flight"), "the other one is at work");
    }
}

async fn an_attempt_whose_key_another_one_has_finished_gets_its_response(ledger: Ledger) {
    let shop = Shop::on_its_database(&ledger, Way::Commit).await;
    let winner = shop.pay("other", &payment("won")).await;
    let new = payment("a");
    let (late, ()) = tokio::join!(pay_late(&shop, "k", &new), async {
        claimed(&ledger).await;
        // Stores the other attempt's response under this key.
        let done = "SELECT record FROM idempotency_keys WHERE state = 2";
        take_the_key_of_the_running(&ledger, done).await;
        shop.app.stops.go_on.notify_one();
    });
    assert_eq!((late.status, late.replayed, &late.body), (CREATED, true, &winner.body), "{late:?}");
    assert_eq!((ledger.rows("a").await, ledger.rows("won").await), (0, 1));
}

async fn take_the_key_of_the_running(ledger: &Ledger, record: &str) {
    let token = if matches!(ledger, Ledger::Sqlite(_)) { "zeroblob(16)" } else { "decode(repeat('00', 16), 'hex')" };
    let set = format!("token = {token}, change = 9000000000000000, state = 2, record = ({record})");
    ledger.execute(&format!("UPDATE idempotency_keys SET {set} WHERE state = 0")).await;
}

async fn what_follows_the_commit_does_not_change_the_answer(ledger: Ledger) {
    let shop = Shop::on_its_database(&ledger, Way::Commit).await;
    for afterwards in ["err", "panic"] {
        let new = NewPayment { afterwards: Some(afterwards.to_owned()), ..payment(afterwards) };
        let first = shop.pay(afterwards, &new).await;
        assert_eq!((first.status, first.replayed), (CREATED, false), "{first:?}");
        let again = shop.pay(afterwards, &new).await;
        assert_eq!((again.status, again.replayed, &again.body), (CREATED, true, &first.body));
        assert_eq!(ledger.rows(afterwards).await, 1);
    }
}

async fn a_second_commit_of_one_attempt_is_an_error_and_changes_nothing(ledger: Ledger) {
    let shop = Shop::on_its_database(&ledger, Way::Commit).await;
    let first = shop.pay("k", &NewPayment { twice: true, ..payment("a") }).await;
    assert_eq!((first.status, first.replayed), (CREATED, false), "{first:?}");
    assert_eq!(ledger.rows("a").await, 1);
}

async fn a_response_that_is_too_large_settles_the_key_without_its_body(ledger: Ledger) {
    let shop = Shop::on_its_database(&ledger, Way::Commit).await;
    let large = NewPayment { padding: 2 << 20, ..payment("a") };
    let first = shop.pay("k", &large).await;
    assert_eq!((first.status, first.body.len()), (CREATED, 2 << 20));
    let again = shop.pay("k", &large).await;
    assert_eq!((again.status, again.problem().as_str()), (409, "not-replayable"));
    assert_eq!(ledger.rows("a").await, 1);
}

async fn a_recorded_response_that_was_not_committed_is_not_sent(ledger: Ledger) {
    let shop = Shop::on_its_database(&ledger, Way::Record).await;
    let forgetful = shop.pay("k", &NewPayment { forget: true, ..payment("a") }).await;
    assert_eq!((forgetful.status, forgetful.problem().as_str()), (503, "journal-unavailable"), "{forgetful:?}");
    assert_eq!(ledger.rows("a").await, 0);
    let again = shop.pay("k", &NewPayment { forget: true, ..payment("a") }).await;
    assert_eq!(again.status, 503, "the key is free, and it ran again");
    assert_eq!(shop.app.counts.runs.load(SeqCst), 2);
}

async fn another_request_under_the_key_is_refused(ledger: Ledger) {
    let shop = Shop::on_its_database(&ledger, Way::Commit).await;
    assert_eq!(shop.pay("k", &payment("a")).await.status, CREATED);
    let other = shop.pay("k", &payment("b")).await;
    assert_eq!((other.status, other.problem().as_str()), (422, "key-reused"));
    assert_eq!(ledger.rows("b").await, 0);
}

async fn a_hundred_duplicates_pay_once(ledger: Ledger) {
    let shops = [Shop::on_its_database(&ledger, Way::Commit).await, Shop::on_its_database(&ledger, Way::Commit).await];
    let new = NewPayment { pause_ms: 100, ..payment("a") };
    let answers = futures_util::future::join_all((0..100).map(|n| shops[n % 2].pay("k", &new))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == CREATED && !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.replayed || [CREATED, 409].contains(&answer.status)), "{answers:?}");
    assert_eq!(ledger.rows("a").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_isolation_level_it_is_committed() {
    let ledger = Ledger::connect(&Postgres::shared().new_url().await).await;
    let shop = Shop::on_its_database(&ledger, Way::Commit).await;
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let new = NewPayment { isolation: Some(level.to_owned()), pause_ms: 50, ..payment(level) };
        let first = shop.pay(level, &new).await;
        assert_eq!((first.status, first.replayed), (CREATED, false), "{level}: {first:?}");
        assert!(shop.pay(level, &new).await.replayed, "{level}");
        assert_eq!(ledger.rows(level).await, 1, "{level}");
    }
}

support::every_lost_commit!(async |ledger: Ledger, way| Shop::on_its_database(&ledger, way).await);

/// The process is stopped between the record and its COMMIT, and its lease ends. Nobody knows whether it will commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_transaction_is_open_is_not_taken_over_and_nobody_waits_for_it() {
    let url = Postgres::shared().new_url().await;
    let ledger = Ledger::connect(&url).await;
    let frozen = JournalServer::start(SERVER, &url, Claims::Database, "record");
    let other = JournalServer::start(SERVER, &url, Claims::Database, "record");
    let address = frozen.address;
    let first =
        tokio::spawn(
            async move { send(&client(), address, "/payments", Some("k"), Some("recorded"), &payment("a")).await },
        );
    tokio::task::block_in_place(|| frozen.wait_for("recorded"));
    frozen.freeze();
    let over = "expires_at - (kept - lease) * interval '1 ms' <= now()";
    while ledger.number(&format!("SELECT COUNT(*) FROM idempotency_keys WHERE {over}")).await == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    let client = client();
    let new = payment("a");
    let pay = || send(&client, other.address, "/payments", Some("k"), None, &new);
    for _ in 0..3 {
        let start = Instant::now();
        let got = pay().await.expect("an answer");
        assert_eq!((got.status, got.problem().as_str()), (409, "in-flight"), "{got:?}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
    // The transaction ends with the process.
    frozen.kill();
    assert!(first.await.expect("no panic").is_err());
    let second = insist(other.address, "/payments", "k", &new).await;
    assert_eq!((second.status, second.replayed), (CREATED, false));
    assert_eq!(ledger.rows("a").await, 1);
}
