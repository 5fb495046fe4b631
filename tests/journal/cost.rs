//! What a journal costs, counted in the statements of the server's log.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use idempotent_runtime::{Idempotency, MemoryStore};
use support::{
    app::{App, NewPayment, Way},
    ledger::Ledger,
    postgres::Postgres,
    shop::{CREATED, Shop, payment},
};

/// A shop that deletes nothing in the background: the server's log would have it among a request's statements.
async fn open(ledger: &Ledger) -> Shop {
    let journal = ledger.store().delete_expired_by_hand();
    let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(journal).build();
    Shop::serve(App::new(idempotency, ledger.clone(), Way::Commit)).await
}

/// The first words of the statements that a request makes the server run.
async fn statements(server: &Postgres, shop: &Shop, key: &str, new: &NewPayment) -> Vec<String> {
    let before = server.log().len();
    let got = shop.pay(key, new).await;
    assert!(got.status == CREATED || new.refuse, "{got:?}");
    let log = server.log()[before..].to_owned();
    let logged = |line: &str| {
        let (_, statement) = line.split_once("statement: ").or_else(|| line.split_once("execute "))?;
        let statement = statement.split_once(": ").map_or(statement, |(_, sql)| sql);
        let words = statement.split_whitespace().take(3).filter(|word| !word.starts_with('('));
        Some(words.collect::<Vec<_>>().join(" ").replace('"', ""))
    };
    log.lines().filter_map(logged).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_one_statement_more_than_the_transaction_itself() {
    let server = Postgres::start_with(&["fsync=off", "log_statement=all"]);
    let ledger = Ledger::connect(&server.url()).await;
    let plain = Shop::with(MemoryStore::new(), &ledger, Way::Plain).await;
    let ours = open(&ledger).await;
    let restarted = open(&ledger).await;
    let begin = "BEGIN ISOLATION LEVEL";
    // The first request on a connection prepares statements, and the first one of a service reads the journal's table.
    // Only the requests after these are counted.
    for shop in [&plain, &ours, &restarted] {
        shop.pay("warm", &payment("warm")).await;
    }

    let transaction = [begin, "INSERT INTO payments", "COMMIT"];
    assert_eq!(statements(&server, &plain, "a", &payment("a")).await, transaction);
    let with_the_record = [begin, "INSERT INTO payments", "INSERT INTO idempotency_keys", "COMMIT"];
    assert_eq!(statements(&server, &ours, "b", &payment("b")).await, with_the_record);
    // A replay of a response that is in the store.
    assert_eq!(statements(&server, &ours, "b", &payment("b")).await, Vec::<String>::new());
    // A replay of a response that is only in the journal.
    let collision = [begin, "INSERT INTO payments", "INSERT INTO idempotency_keys", "ROLLBACK", "SELECT 0::bigint AS"];
    assert_eq!(statements(&server, &restarted, "b", &payment("b")).await, collision);
    // A run that does not commit.
    let refused = NewPayment { refuse: true, ..payment("c") };
    assert_eq!(statements(&server, &ours, "c", &refused).await, ["SELECT 0::bigint AS"]);
    // No read waits for a transaction.
    let log = server.log();
    assert!(log.lines().filter(|line| line.contains("SELECT 0::bigint AS")).all(|line| !line.contains("FOR UPDATE")));
}

/// While an attempt runs, a duplicate may make the service read the journal, but not every duplicate does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_of_a_running_attempt_have_the_journal_asked_once_a_second() {
    let server = Postgres::start_with(&["fsync=off", "log_statement=all"]);
    let ledger = Ledger::connect(&server.url()).await;
    let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(ledger.store()).build();
    let shop = Shop::serve(App::new(idempotency, ledger, Way::Commit)).await;
    shop.pay("warm", &payment("warm")).await;
    let logged_before = server.log().len();
    // The attempt stands still in its transaction.
    let new = NewPayment { pause_ms: 600_000, ..payment("k") };
    let duplicates = async {
        while shop.app.counts.runs.load(SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (start, mut sent) = (Instant::now(), 0);
        while sent < 10 || start.elapsed() < Duration::from_secs(3) {
            assert_eq!(shop.pay("k", &new).await.status, 409);
            sent += 1;
        }
        (sent, start.elapsed())
    };
    let (sent, took) = tokio::select! {
        _ = shop.pay("k", &new) => panic!("the handler stands still"),
        sent = duplicates => sent,
    };
    let log = server.log()[logged_before..].to_owned();
    let asked = log.lines().filter(|line| line.contains("SELECT 0::bigint AS")).count();
    let most = usize::try_from(took.as_secs()).expect("seconds") + 1;
    assert!((1..=most).contains(&asked), "asked {asked} times for {sent} duplicates in {took:?}");
    assert!(sent > most, "{sent} duplicates in {took:?} put nothing to the test");
}
