//! What a journal costs, in statements: as the server's log has them.

#![allow(dead_code, unreachable_pub, clippy::missing_panics_doc)]

#[path = "support/journal_server/app.rs"]
mod app;
#[path = "support/journal_server/ledger.rs"]
mod ledger;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/shop.rs"]
mod shop;

use app::{NewPayment, Way};
use idempotent_runtime::MemoryStore;
use ledger::Ledger;
use postgres::Postgres;
use shop::{CREATED, Shop, payment};

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
    let ours = Shop::open(&ledger).await;
    let restarted = Shop::open(&ledger).await;
    let begin = "BEGIN ISOLATION LEVEL";
    // The first request of a connection prepares, and the first one of a service reads the journal's table; these are the
    // ones after it.
    for shop in [&plain, &ours, &restarted] {
        shop.pay("warm", &payment("warm")).await;
    }

    let transaction = [begin, "INSERT INTO payments", "COMMIT"];
    assert_eq!(statements(&server, &plain, "a", &payment("a")).await, transaction);
    let with_the_record = [begin, "INSERT INTO payments", "INSERT INTO idempotency_journal", "COMMIT"];
    assert_eq!(statements(&server, &ours, "b", &payment("b")).await, with_the_record);
    // A replay of what the store has.
    assert_eq!(statements(&server, &ours, "b", &payment("b")).await, Vec::<String>::new());
    // A replay of what the store has lost.
    let collision =
        [begin, "INSERT INTO payments", "INSERT INTO idempotency_journal", "ROLLBACK", "SELECT fingerprint, token,"];
    assert_eq!(statements(&server, &restarted, "b", &payment("b")).await, collision);
    // A run that does not commit.
    let refused = NewPayment { refuse: true, ..payment("c") };
    assert_eq!(statements(&server, &ours, "c", &refused).await, ["SELECT fingerprint, token,"]);
}
