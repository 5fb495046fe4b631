//! What a crash leads to: the server process is killed at every point of a request's life, over every store, with and
//! without a journal, on SQLite and on Postgres, in a handler and in an operation. Then it is started again and the
//! client retries.

use std::fmt::Write as _;

use futures_util::{StreamExt, stream};
use support::{
    journal_process::{Claims, JournalServer},
    ledger::Ledger,
    postgres::Postgres,
    redis_server::RedisServer,
    shop::{CREATED, client, insist, payment, send},
};

use crate::{is_documented, new_file};

/// The program that is killed.
const SERVER: &str = env!("CARGO_BIN_EXE_journal-server");

/// Where the process is killed: the server's name for the point, and the words in the table.
const POINTS: [(&str, &str); 7] = [
    ("before-claim", "before the claim"),
    ("after-claim", "after the claim, before the transaction"),
    ("in-transaction", "inside the transaction, before the effect"),
    ("after-effect", "between the effect and the commit"),
    ("recorded", "between the record in the transaction and COMMIT"),
    ("after-commit", "after COMMIT, before the store has the response"),
    ("before-response", "after the store has it, before the client does"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column {
    name: &'static str,
    store: Kept,
    /// Whether the response is in the handler's transaction.
    journal: bool,
}

/// Where the claims are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Memory,
    Redis,
    Database,
}

const COLUMNS: [Column; 6] = [
    Column { name: "memory", store: Kept::Memory, journal: false },
    Column { name: "Redis", store: Kept::Redis, journal: false },
    Column { name: "`SqlStore`", store: Kept::Database, journal: false },
    Column { name: "memory + journal", store: Kept::Memory, journal: true },
    Column { name: "Redis + journal", store: Kept::Redis, journal: true },
    Column { name: "`SqlStore` + `Claim::commit`", store: Kept::Database, journal: true },
];

/// The result of a cell: the payments that were made, and how the retry was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcome {
    payments: i64,
    /// Whether the retry was answered with the response of an earlier attempt. Otherwise its handler ran.
    replayed: bool,
}

/// The result that `docs/reliability.md` promises for a cell; `None` where the point does not exist.
fn promised(point: &str, column: Column) -> Option<Outcome> {
    let (payments, replayed) = match point {
        "recorded" if !column.journal => return None,
        "after-commit" => (if column.journal { 1 } else { 2 }, column.journal),
        // The memory store is lost with the process. The other stores are not.
        "before-response" if !column.journal => {
            let kept = column.store != Kept::Memory;
            (if kept { 1 } else { 2 }, kept)
        }
        "before-response" => (1, true),
        _ => (1, false),
    };
    Some(Outcome { payments, replayed })
}

async fn crash(database: &str, redis: &str, path: &'static str, point: &str, column: Column) -> Option<Outcome> {
    let journal = match point {
        "recorded" if !column.journal => return None,
        "recorded" => "record",
        _ if column.journal => "commit",
        _ => "none",
    };
    let claims = match column.store {
        Kept::Memory => Claims::Memory,
        Kept::Redis => Claims::Redis(redis),
        Kept::Database => Claims::Database,
    };
    let key = format!("{point}-{}", column.name);
    let new = payment(&key);
    let server = tokio::task::block_in_place(|| JournalServer::start(SERVER, database, claims, journal));
    let (address, sent, name, stop) = (server.address, new.clone(), key.clone(), point.to_owned());
    let first = tokio::spawn(async move { send(&client(), address, path, Some(&name), Some(&stop), &sent).await });
    tokio::task::block_in_place(|| server.wait_for(point));
    server.kill();
    assert!(first.await.expect("no panic").is_err(), "the client heard nothing");

    let server = tokio::task::block_in_place(|| JournalServer::start(SERVER, database, claims, journal));
    let answer = insist(server.address, path, &key, &new).await;
    assert_eq!(answer.status, CREATED, "{key}: {answer:?}");
    let again = insist(server.address, path, &key, &new).await;
    assert_eq!((again.status, again.replayed, &again.body), (CREATED, true, &answer.body), "{key}: one answer");
    let payments = Ledger::connect(database).await.rows(&key).await;
    Some(Outcome { payments, replayed: answer.replayed })
}

/// The table, with the payments made at this path.
async fn matrix(path: &'static str, new_database: impl AsyncFn() -> String) -> String {
    let redis = RedisServer::start();
    let url = redis.url();
    let cells = POINTS.iter().flat_map(|(point, _)| COLUMNS.iter().map(move |column| (*point, *column)));
    let tasks = cells.map(async |(point, column)| {
        let (database, url) = (new_database().await, url.clone());
        tokio::spawn(async move { crash(&database, &url, path, point, column).await }).await.expect("no panic")
    });
    let outcomes: Vec<Option<Outcome>> = stream::iter(tasks).buffered(4).collect().await;

    let mut table = String::from("| killed |");
    for column in COLUMNS {
        write!(table, " {} |", column.name).expect("a string");
    }
    table.push_str("\n|---|---|---|---|---|---|---|\n");
    for ((point, words), row) in POINTS.iter().zip(outcomes.chunks(COLUMNS.len())) {
        write!(table, "| {words} |").expect("a string");
        for (column, outcome) in COLUMNS.iter().zip(row) {
            assert_eq!(*outcome, promised(point, *column), "{point}, {}", column.name);
            let cell = match outcome {
                None => "cannot happen".to_owned(),
                Some(Outcome { payments: 1, replayed }) => format!("1, {}", if *replayed { "replayed" } else { "ran" }),
                Some(Outcome { payments, .. }) => format!("**{payments}**"),
            };
            write!(table, " {cell} |").expect("a string");
        }
        table.push('\n');
    }
    table
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_a_journal_a_crash_at_any_point_leaves_one_payment_and_one_answer_on_sqlite() {
    let directory = support::directory::in_memory();
    is_documented(&matrix("/payments", async || new_file(&directory)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_a_journal_a_crash_at_any_point_leaves_one_payment_and_one_answer_on_postgres() {
    is_documented(&matrix("/payments", async || Postgres::shared().new_url().await).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_point_of_an_operation_leaves_what_it_leaves_in_a_handler() {
    let directory = support::directory::in_memory();
    is_documented(&matrix("/operations", async || new_file(&directory)).await);
}
