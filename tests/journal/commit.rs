//! `Claim::commit` over HTTP, on SQLite and on Postgres: whatever happens to the store and to the handler, the ledger
//! has one payment, and every client gets the answer of that payment.

use std::{pin::pin, sync::atomic::Ordering::SeqCst, time::Duration};

use futures_util::future::join_all;
use idempotent_runtime::{Idempotency, MemoryStore};
use support::{
    app::{App, LEASE, NewPayment, Way},
    ledger::Ledger,
    postgres::Postgres,
    shop::{CREATED, Shop, payment, post, send},
};

/// A ledger for each test, on each database.
struct OnSqlite(tempfile::TempDir);
struct OnPostgres;

impl OnSqlite {
    fn new() -> Self {
        Self(support::directory::in_memory())
    }

    async fn ledger(&self) -> Ledger {
        Ledger::connect(&format!("sqlite://{}", self.0.path().join("ledger.db").display())).await
    }
}

impl OnPostgres {
    fn new() -> Self {
        Self
    }

    async fn ledger(&self) -> Ledger {
        Ledger::connect(&Postgres::shared().new_url().await).await
    }
}

/// Runs each scenario on both databases.
macro_rules! on_both_databases {
    ($($scenario:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                let database = super::OnSqlite::new();
                super::$scenario(database.ledger().await).await;
            })*
        }
        mod postgresql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(super::OnPostgres::new().ledger().await).await;
            })*
        }
    };
}

on_both_databases! {
    a_retry_is_replayed_from_the_store_and_from_the_journal
    a_collision_of_two_services_commits_once_and_both_clients_get_the_same
    the_lost_201_wins_over_the_handlers_own_409
    an_error_after_the_commit_is_not_what_the_client_gets
    a_panic_after_the_commit_is_not_what_the_client_gets
    a_second_commit_of_one_attempt_is_an_error_and_changes_nothing
    whatever_is_committed_settles_the_key
    a_response_that_is_too_large_settles_the_key_without_its_body
    an_endless_response_settles_the_key_without_its_body
    another_request_under_a_key_of_the_journal_is_refused
    without_a_key_it_just_commits
    without_a_journal_nothing_is_committed
    a_recorded_response_stands_with_its_own_commit
    a_response_that_is_recorded_by_another_driver_stands_with_its_commit
    a_recorded_response_that_was_not_committed_is_not_sent
    a_response_that_was_refused_without_a_commit_is_stored_as_ever
    a_commit_that_was_given_up_is_settled_before_the_answer
    a_recovered_attempt_reads_the_journal_before_it_runs_and_heals_the_store
}

async fn a_retry_is_replayed_from_the_store_and_from_the_journal(ledger: Ledger) {
    let shop = Shop::open(&ledger).await;
    let first = shop.pay("k", &payment("a")).await;
    assert_eq!((first.status, first.replayed), (CREATED, false));
    let again = shop.pay("k", &payment("a")).await;
    assert_eq!((again.status, again.replayed, &again.body), (CREATED, true, &first.body));
    assert_eq!(shop.app.counts.runs.load(SeqCst), 1, "the store answers, and nothing runs");

    let restarted = Shop::open(&ledger).await;
    let after = restarted.pay("k", &payment("a")).await;
    assert_eq!((after.status, after.replayed, &after.body), (CREATED, true, &first.body));
    assert_eq!(after.location, first.location);
    assert_eq!(restarted.app.counts.rolled_back.load(SeqCst), 1, "it ran, met the row and was rolled back");
    let healed = restarted.pay("k", &payment("a")).await;
    assert_eq!(healed, after);
    assert_eq!(restarted.app.counts.runs.load(SeqCst), 1, "the store knows it again");
    assert_eq!(ledger.rows("a").await, 1);
}

async fn a_collision_of_two_services_commits_once_and_both_clients_get_the_same(ledger: Ledger) {
    // Each service has its own store, so all attempts run at once. Only the unique index allows a single commit.
    let shops = join_all((0..6).map(|_| Shop::open(&ledger))).await;
    let new = NewPayment { pause_ms: 50, ..payment("a") };
    let answers = join_all(shops.iter().map(|shop| shop.pay("k", &new))).await;
    let first = answers.iter().find(|answer| !answer.replayed).expect("one is the first");
    assert_eq!(answers.iter().filter(|answer| answer.replayed).count(), 5, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.status == CREATED && answer.body == first.body), "{answers:?}");
    assert_eq!(ledger.rows("a").await, 1);
    let runs: usize = shops.iter().map(|shop| shop.app.counts.runs.load(SeqCst)).sum();
    let rolled_back: usize = shops.iter().map(|shop| shop.app.counts.rolled_back.load(SeqCst)).sum();
    assert_eq!((runs, rolled_back), (6, 5));
}

async fn the_lost_201_wins_over_the_handlers_own_409(ledger: Ledger) {
    let first = Shop::open(&ledger).await.pay("k", &NewPayment { check: true, ..payment("a") }).await;
    let restarted = Shop::open(&ledger).await;
    let again = restarted.pay("k", &NewPayment { check: true, ..payment("a") }).await;
    assert_eq!((again.status, again.replayed, &again.body), (CREATED, true, &first.body));
    // Under another key the handler's own 409 is the right answer.
    assert_eq!(restarted.pay("other", &NewPayment { check: true, ..payment("a") }).await.status, 409);
}

async fn an_error_after_the_commit_is_not_what_the_client_gets(ledger: Ledger) {
    let shop = Shop::open(&ledger).await;
    let new = NewPayment { afterwards: Some("err".to_owned()), ..payment("a") };
    let first = shop.pay("k", &new).await;
    assert_eq!((first.status, first.replayed), (CREATED, false));
    let again = shop.pay("k", &new).await;
    assert_eq!((again.status, again.replayed, &again.body), (CREATED, true, &first.body));
    assert_eq!((shop.app.counts.runs.load(SeqCst), ledger.rows("a").await), (1, 1));
}

async fn a_panic_after_the_commit_is_not_what_the_client_gets(ledger: Ledger) {
    let shop = Shop::open(&ledger).await;
    let new = NewPayment { afterwards: Some("panic".to_owned()), ..payment("a") };
    let first = shop.pay("k", &new).await;
    assert_eq!((first.status, first.replayed), (CREATED, false));
    assert_eq!(shop.pay("k", &new).await.body, first.body);
    assert_eq!((shop.app.counts.runs.load(SeqCst), ledger.rows("a").await), (1, 1));
}

async fn a_second_commit_of_one_attempt_is_an_error_and_changes_nothing(ledger: Ledger) {
    let shop = Shop::open(&ledger).await;
    let new = NewPayment { twice: true, ..payment("a") };
    let first = shop.pay("k", &new).await;
    assert_eq!((first.status, first.replayed, ledger.rows("a").await), (CREATED, false, 1));
    let after = Shop::open(&ledger).await.pay("k", &new).await;
    assert_eq!((after.status, after.replayed, after.body, ledger.rows("a").await), (CREATED, true, first.body, 1));
    // Where nothing is protected, every commit is made.
    let off = Shop::serve(App::new(Idempotency::disabled(), ledger.clone(), Way::Commit)).await;
    assert_eq!((off.pay("k", &new).await.status, ledger.rows("a").await), (CREATED, 3));
}

async fn whatever_is_committed_settles_the_key(ledger: Ledger) {
    for status in [200, 303, 401, 409, 429, 500, 503] {
        let (key, reference) = (format!("k{status}"), format!("a{status}"));
        let new = NewPayment { status: Some(status), ..payment(&reference) };
        let shop = Shop::open(&ledger).await;
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let send = |shop: &Shop| {
            let (client, address, key, new) = (client.clone(), shop.address, key.clone(), new.clone());
            async move { send(&client, address, "/payments", Some(&key), None, &new).await.expect("an answer") }
        };
        let first = send(&shop).await;
        assert_eq!((first.status, first.replayed), (status, false));
        let again = send(&shop).await;
        assert_eq!((again.status, again.replayed, &again.body), (status, true, &first.body));
        let after = send(&Shop::open(&ledger).await).await;
        assert_eq!((after.status, after.replayed, &after.body), (status, true, &first.body));
        assert_eq!(ledger.rows(&reference).await, 1);
    }
}

async fn a_response_that_is_too_large_settles_the_key_without_its_body(ledger: Ledger) {
    let new = NewPayment { padding: 2 << 20, ..payment("a") };
    let shop = Shop::open(&ledger).await;
    let first = shop.pay("k", &new).await;
    assert_eq!((first.status, first.body.len()), (CREATED, 2 << 20));
    for shop in [&shop, &Shop::open(&ledger).await] {
        let again = shop.pay("k", &new).await;
        assert_eq!((again.status, again.problem().as_str()), (409, "not-replayable"));
        assert_eq!(again.location, first.location);
    }
    assert_eq!(ledger.rows("a").await, 1);
}

async fn an_endless_response_settles_the_key_without_its_body(ledger: Ledger) {
    let new = NewPayment { padding: -1, ..payment("a") };
    let shop = Shop::open(&ledger).await;
    let request = post(&shop.client, shop.address, "/payments", &new).header("idempotency-key", "k");
    let mut endless = request.send().await.expect("an answer");
    assert_eq!(endless.status().as_u16(), CREATED);
    assert!(endless.chunk().await.expect("a chunk").is_some(), "the body goes on");
    drop(endless);
    let again = Shop::open(&ledger).await.pay("k", &new).await;
    assert_eq!((again.status, again.problem().as_str()), (409, "not-replayable"));
    assert_eq!(ledger.rows("a").await, 1);
}

async fn another_request_under_a_key_of_the_journal_is_refused(ledger: Ledger) {
    let first = Shop::open(&ledger).await.pay("k", &payment("a")).await;
    let restarted = Shop::open(&ledger).await;
    let other = restarted.pay("k", &payment("b")).await;
    assert_eq!((other.status, other.problem().as_str(), other.location), (422, "key-reused", None));
    assert_eq!((ledger.rows("a").await, ledger.rows("b").await), (1, 0));
    // The store now has the response from the journal, under the first request's fingerprint.
    let again = restarted.pay("k", &payment("a")).await;
    assert_eq!((again.status, again.replayed, &again.body), (CREATED, true, &first.body));
    assert_eq!(restarted.app.counts.runs.load(SeqCst), 1);
    // A run without a commit is refused as well.
    let refused = NewPayment { refuse: true, ..payment("c") };
    assert_eq!(Shop::open(&ledger).await.pay("k", &refused).await.problem(), "key-reused");
}

async fn without_a_key_it_just_commits(ledger: Ledger) {
    let shop = Shop::open(&ledger).await;
    for rows in 1..=2 {
        let answer = send(&shop.client, shop.address, "/optional", None, None, &payment("a")).await.expect("an answer");
        assert_eq!((answer.status, answer.replayed), (CREATED, false));
        assert_eq!(ledger.rows("a").await, rows);
    }
    // A request with a safe method is not protected, and its handler may commit.
    let url = format!("http://{}/payments", shop.address);
    let answer = shop.client.get(url).header("idempotency-key", "k").send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), ledger.rows("on-get").await), (CREATED, 1));
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys").await, 0);
    // While protection is off, no request is protected.
    let off = Shop::serve(App::new(Idempotency::disabled(), ledger.clone(), Way::Commit)).await;
    assert_eq!(off.pay("k", &payment("a")).await.status, CREATED);
    assert_eq!(ledger.rows("a").await, 3);
}

async fn without_a_journal_nothing_is_committed(ledger: Ledger) {
    let app = App::new(Idempotency::new(MemoryStore::new()), ledger.clone(), Way::Commit);
    let answer = Shop::serve(app).await.pay("k", &payment("a")).await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("NoDatabase"), "{answer:?}");
    assert_eq!(ledger.rows("a").await, 0);
}

async fn a_recorded_response_stands_with_its_own_commit(ledger: Ledger) {
    let shop = Shop::with(MemoryStore::new(), &ledger, Way::Record).await;
    let first = shop.pay("k", &payment("a")).await;
    assert_eq!((first.status, first.replayed), (CREATED, false));
    let restarted = Shop::with(MemoryStore::new(), &ledger, Way::Record).await;
    let again = restarted.pay("k", &payment("a")).await;
    assert_eq!((again.status, again.replayed, &again.body), (CREATED, true, &first.body));
    assert_eq!((restarted.app.counts.rolled_back.load(SeqCst), ledger.rows("a").await), (1, 1));
}

async fn a_response_that_is_recorded_by_another_driver_stands_with_its_commit(ledger: Ledger) {
    let shop = Shop::with(MemoryStore::new(), &ledger, Way::Entry).await;
    let first = shop.pay("k", &payment("a")).await;
    assert_eq!((first.status, first.replayed), (CREATED, false));
    let restarted = Shop::with(MemoryStore::new(), &ledger, Way::Entry).await;
    let again = restarted.pay("k", &payment("a")).await;
    assert_eq!((again.status, again.replayed, &again.body), (CREATED, true, &first.body));
    assert_eq!((restarted.app.counts.rolled_back.load(SeqCst), ledger.rows("a").await), (1, 1));
}

async fn a_recorded_response_that_was_not_committed_is_not_sent(ledger: Ledger) {
    let shop = Shop::with(MemoryStore::new(), &ledger, Way::Record).await;
    let forgotten = shop.pay("k", &NewPayment { forget: true, ..payment("a") }).await;
    assert_eq!((forgotten.status, forgotten.problem().as_str()), (503, "journal-unavailable"));
    assert_eq!(ledger.rows("a").await, 0);
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys").await, 0);
    let retried = shop.pay("k", &payment("a")).await;
    assert_eq!((retried.status, retried.replayed, ledger.rows("a").await), (CREATED, false, 1));
}

async fn a_response_that_was_refused_without_a_commit_is_stored_as_ever(ledger: Ledger) {
    let shop = Shop::open(&ledger).await;
    let new = NewPayment { refuse: true, ..payment("a") };
    let first = shop.pay("k", &new).await;
    assert_eq!((first.status, first.replayed), (422, false));
    let again = shop.pay("k", &new).await;
    assert_eq!((again.status, again.replayed, again.body), (422, true, first.body));
}

async fn a_commit_that_was_given_up_is_settled_before_the_answer(ledger: Ledger) {
    let shop = Shop::open(&ledger).await;
    for after in [0, 1, 2, 3, 5, 8] {
        let (key, reference) = (format!("k{after}"), format!("a{after}"));
        let new = NewPayment { give_up_ms: Some(after), ..payment(&reference) };
        let first = shop.pay(&key, &new).await;
        let rows = ledger.rows(&reference).await;
        // The answer says whether the payment was committed.
        assert_eq!(i64::from(first.status == CREATED), rows, "{first:?}");
        let again = shop.pay(&key, &NewPayment { give_up_ms: Some(after), ..payment(&reference) }).await;
        assert_eq!(i64::from(again.status == CREATED), ledger.rows(&reference).await, "{again:?}");
        assert!(ledger.rows(&reference).await <= 1);
    }
}

async fn a_recovered_attempt_reads_the_journal_before_it_runs_and_heals_the_store(ledger: Ledger) {
    for path in ["/payments", "/refusing"] {
        // The first attempt commits and hangs. Its heartbeats stop, so that it is taken for dead after a lease.
        let builder = Idempotency::builder(MemoryStore::new()).max_attempt(Duration::from_millis(100));
        let idempotency = builder.commit_to(ledger.store()).build();
        let shop = Shop::serve(App::new(idempotency, ledger.clone(), Way::Commit)).await;
        let new = NewPayment { afterwards: Some("hang".to_owned()), ..payment(path) };
        let mut hanging = pin!(send(&shop.client, shop.address, path, Some("k"), None, &new));
        let commits = async {
            while ledger.rows(path).await == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            answer = &mut hanging => panic!("it does not hang: {answer:?}"),
            () = commits => {}
        }
        assert!(tokio::time::timeout(Duration::from_millis(200), hanging).await.is_err(), "it hangs");
        let within = shop.post(path, "k", &new).await;
        assert_eq!(
            (within.status, within.replayed),
            (CREATED, true),
            "the lease is not over, and the journal knows it"
        );
        tokio::time::sleep(LEASE + Duration::from_millis(500)).await;
        let again = shop.post(path, "k", &new).await;
        assert_eq!((again.status, again.replayed), (CREATED, true), "{path}");
        assert_eq!((shop.app.counts.runs.load(SeqCst), ledger.rows(path).await), (1, 1));
        ledger.execute("DELETE FROM idempotency_keys").await;
        assert_eq!(shop.post(path, "k", &new).await, again, "the store has it from the journal");
    }
}
