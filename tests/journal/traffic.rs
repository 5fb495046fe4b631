//! In the middle of traffic Redis is flushed, evicts keys, and is replaced by an empty one. With the journal no payment
//! is made twice. Without the journal the same run shows how many payments are made twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream};
use idempotent_runtime::RedisStore;
use support::{
    app::{Counts, Way},
    ledger::Ledger,
    postgres::Postgres,
    redis_server::RedisServer,
    shop::{CREATED, Got, Shop, payment, send},
};
use tokio::time::sleep;

/// How many keys one client uses at a time. It sends them all, and then sends them all again as if no answer had come.
const ROUND: usize = 50;

/// The result of a run.
#[derive(Debug)]
struct Run {
    sent: usize,
    ran: usize,
    rolled_back: usize,
    duplicates: i64,
    losses: usize,
}

async fn traffic(ledger: &Ledger, way: Way, keys: usize) -> Run {
    let mut redis = RedisServer::start();
    let url = redis.url();
    let mut shops = Vec::new();
    for _ in 0..2 {
        shops.push(Shop::with(RedisStore::connect(&url).await.expect("a store"), ledger, way).await);
    }
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let chaos = thread::spawn(move || {
        let mut losses = 0;
        while !stop.load(SeqCst) {
            match losses % 8 {
                3 => redis.restart(),
                5 => {
                    redis.set(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
                    redis.set(&["CONFIG", "SET", "maxmemory", "1mb"]);
                    thread::sleep(Duration::from_millis(100));
                    redis.set(&["CONFIG", "SET", "maxmemory", "0"]);
                }
                _ => redis.set(&["FLUSHALL"]),
            }
            losses += 1;
            thread::sleep(Duration::from_millis(150));
        }
        losses
    });

    let start = Instant::now();
    let rounds = (0..keys.div_ceil(ROUND)).map(|round| {
        let shops = &shops;
        async move {
            let keys: Vec<String> = (0..ROUND).map(|key| format!("{round}-{key}")).collect();
            // The retry goes to another server than the first try.
            let first = join_all(keys.iter().map(|key| insist(&shops[round % 2], key))).await;
            let again = join_all(keys.iter().map(|key| insist(&shops[(round + 1) % 2], key))).await;
            if way != Way::Plain {
                for ((key, first), again) in keys.iter().zip(&first).zip(&again) {
                    assert_eq!(first.0.body, again.0.body, "{key}: two answers");
                }
            }
            first.iter().chain(&again).map(|(_, tries)| tries).sum::<usize>()
        }
    });
    let sent: usize = stream::iter(rounds).buffer_unordered(2).collect::<Vec<_>>().await.into_iter().sum();
    let took = start.elapsed();
    over.store(true, SeqCst);
    let losses = chaos.join().expect("the chaos ends");
    let sum = |count: fn(&Counts) -> usize| shops.iter().map(|shop| count(&shop.app.counts)).sum();
    let run = Run {
        sent,
        ran: sum(|counts| counts.runs.load(SeqCst)),
        rolled_back: sum(|counts| counts.rolled_back.load(SeqCst)),
        duplicates: ledger.duplicates().await,
        losses,
    };
    println!("{way:?}, {keys} keys in {took:.1?}: {run:?}");
    assert!(run.losses > 0, "nothing was lost: {run:?}");
    let payments = ledger.number("SELECT COUNT(DISTINCT reference) FROM payments").await;
    assert_eq!(payments, i64::try_from(keys).expect("few"), "every payment was made");
    run
}

/// Retries until the payment is made, as a client does. Returns the answer and the number of tries.
async fn insist(shop: &Shop, key: &str) -> (Got, usize) {
    for tries in 1..=500 {
        let sent = send(&shop.client, shop.address, "/payments", Some(key), None, &payment(key)).await;
        match sent {
            Ok(got) if got.status == CREATED => return (got, tries),
            Ok(got) => assert!(matches!(got.status, 409 | 503), "{key}: {got:?}"),
            Err(error) => panic!("{key}: {error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("{key} was never paid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_journal_no_payment_of_ten_thousand_is_made_twice() {
    let ledger = Ledger::connect(&Postgres::shared().new_url().await).await;
    let run = traffic(&ledger, Way::Commit, 10_000).await;
    assert_eq!(run.duplicates, 0, "{run:?}");
    assert!(run.sent >= 20_000 && run.rolled_back >= 500, "nothing was put to the test: {run:?}");
    assert_eq!(run.ran - run.rolled_back, 10_000, "{run:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_no_payment_is_made_twice_either() {
    let directory = support::directory::in_memory();
    let ledger = Ledger::connect(&format!("sqlite://{}", directory.path().join("ledger.db").display())).await;
    let run = traffic(&ledger, Way::Commit, 1_000).await;
    assert_eq!(run.duplicates, 0, "{run:?}");
    assert!(run.rolled_back >= 50, "nothing was put to the test: {run:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_journal_the_same_traffic_pays_twice() {
    let ledger = Ledger::connect(&Postgres::shared().new_url().await).await;
    let run = traffic(&ledger, Way::Plain, 2_000).await;
    assert!(run.duplicates >= 100, "{run:?}");
}
