//! Counts the statements that a store in the database makes, as the server's log shows them.

use std::time::Instant;

use support::{
    app::{LEASE, NewPayment, Way},
    ledger::Ledger,
    postgres::Postgres,
    shop::{Got, Shop, payment},
};

/// Returns the answer to a request, and the first words of the statements that the server ran for it.
async fn statements(server: &Postgres, shop: &Shop, key: &str, new: &NewPayment) -> (Got, Vec<String>) {
    let before = server.log().len();
    let got = shop.pay(key, new).await;
    let log = server.log()[before..].to_owned();
    let logged = |line: &str| {
        let (_, statement) = line.split_once("statement: ").or_else(|| line.split_once("execute "))?;
        let statement = statement.split_once(": ").map_or(statement, |(_, sql)| sql);
        let words = statement.split_whitespace().take(3).filter(|word| !word.starts_with('('));
        let words = words.collect::<Vec<_>>().join(" ").replace('"', "");
        // The clean-up runs in the background, so its statements are left out.
        (!words.starts_with("DELETE")).then_some(words)
    };
    (got, log.lines().filter_map(logged).collect())
}

/// The same for a key's first request, and the key, which begins with `name`. On a busy machine the request may take so
/// long that its lease is renewed. Then it is sent again with another key.
async fn first_statements(server: &Postgres, shop: &Shop, name: &str, new: &NewPayment) -> (String, Got, Vec<String>) {
    for number in 0..20 {
        let (key, start) = (format!("{name}-{number}"), Instant::now());
        let (got, said) = statements(server, shop, &key, new).await;
        // The first renewal comes after a third of the lease.
        if start.elapsed() < LEASE / 4 {
            return (key, got, said);
        }
    }
    panic!("no request is as short as a quarter of its lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_a_replay_and_a_completion_are_one_statement_each_and_a_commit_is_one_in_the_transaction() {
    let server = Postgres::start_with(&["fsync=off", "log_statement=all"]);
    let ledger = Ledger::connect(&server.url()).await;
    let plain = Shop::on_its_database(&ledger, Way::Plain).await;
    let committing = Shop::on_its_database(&ledger, Way::Commit).await;
    // The first request of a connection prepares the statements. Only later requests are counted.
    for (shop, key) in [(&plain, "warm"), (&committing, "warmer")] {
        shop.pay(key, &payment(key)).await;
    }
    let (claim, complete, begin) = ("WITH present AS", "UPDATE idempotency_keys SET", "BEGIN ISOLATION LEVEL");
    let pay = "INSERT INTO payments";
    let refused = NewPayment { refuse: true, ..payment("d") };

    let (key, first, said) = first_statements(&server, &plain, "a", &payment("a")).await;
    assert_eq!((first.status, said), (201, [claim, begin, pay, "COMMIT", complete].map(str::to_owned).to_vec()));
    let (replay, said) = statements(&server, &plain, &key, &payment("a")).await;
    assert_eq!((replay.replayed, said), (true, vec![claim.to_owned()]));

    // The completion is now a part of the transaction.
    let write = "INSERT INTO idempotency_keys";
    let (key, first, said) = first_statements(&server, &committing, "b", &payment("b")).await;
    assert_eq!((first.status, said), (201, [claim, begin, pay, write, "COMMIT"].map(str::to_owned).to_vec()));
    let (replay, said) = statements(&server, &committing, &key, &payment("b")).await;
    assert_eq!((replay.replayed, said), (true, vec![claim.to_owned()]));
    // This run does not commit.
    let (_, refusal, said) = first_statements(&server, &committing, "d", &refused).await;
    assert_eq!((refusal.status, said), (422, [claim, complete].map(str::to_owned).to_vec()));
}
