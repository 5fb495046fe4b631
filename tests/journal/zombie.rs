//! A process that stood still for longer than its lease does not cause a second effect when it wakes up.

use support::{
    app::NewPayment,
    journal_process::{Claims, JournalServer},
    ledger::Ledger,
    postgres::Postgres,
    redis_server::RedisServer,
    shop::{CREATED, Got, client, insist, payment, send},
};
use tokio::task::JoinHandle;

/// The program that stands still.
const SERVER: &str = env!("CARGO_BIN_EXE_journal-server");

/// Sends a payment, and freezes its process when the handler has reached a point.
fn freeze_at(point: &'static str, zombie: &JournalServer, new: &NewPayment) -> JoinHandle<reqwest::Result<Got>> {
    let (client, address, new) = (client(), zombie.address, new.clone());
    let first = tokio::spawn(async move { send(&client, address, "/payments", Some("k"), Some(point), &new).await });
    tokio::task::block_in_place(|| zombie.wait_for(point));
    zombie.freeze();
    first
}

async fn one_attempt_commits_and_both_clients_get_its_response(
    database: &str,
    claims: Claims<'_>,
    point: &'static str,
) {
    let ledger = Ledger::connect(database).await;
    let zombie = JournalServer::start(SERVER, database, claims, "commit");
    let other = JournalServer::start(SERVER, database, claims, "commit");
    let new = payment("a");
    let first = freeze_at(point, &zombie, &new);
    let second = insist(other.address, "/payments", "k", &new).await;
    assert_eq!((second.status, second.replayed), (CREATED, false), "the other one took over");
    assert_eq!(ledger.rows("a").await, 1);
    zombie.thaw();
    zombie.go_on();
    let first = first.await.expect("no panic").expect("an answer");
    assert_eq!((first.status, first.replayed, &first.body), (CREATED, true, &second.body));
    assert_eq!(ledger.rows("a").await, 1, "the zombie was rolled back");
    assert_eq!(insist(zombie.address, "/payments", "k", &new).await.body, second.body);
}

async fn a_zombie_before_its_transaction_is_rolled_back(database: &str, claims: Claims<'_>) {
    one_attempt_commits_and_both_clients_get_its_response(database, claims, "before-transaction").await;
}

async fn a_zombie_with_its_payment_written_is_rolled_back(database: &str, claims: Claims<'_>) {
    one_attempt_commits_and_both_clients_get_its_response(database, claims, "after-effect").await;
}

/// The other attempt refuses, and the zombie would have paid. Every client gets the answer that was in the journal
/// first.
async fn what_a_later_attempt_refused_is_not_committed_by_a_zombie(database: &str, claims: Claims<'_>) {
    let new = NewPayment { refuse_when_recovering: true, ..payment("a") };
    the_refusal_is_in_the_journal_first(database, claims, "commit", new).await;
}

/// The same if the other attempt had recorded a response, and rolled that back.
async fn what_a_later_attempt_refused_after_a_rollback_is_not_committed_by_a_zombie(
    database: &str,
    claims: Claims<'_>,
) {
    let new = NewPayment { refuse_after_record: true, ..payment("a") };
    the_refusal_is_in_the_journal_first(database, claims, "record", new).await;
}

async fn the_refusal_is_in_the_journal_first(database: &str, claims: Claims<'_>, way: &str, new: NewPayment) {
    let ledger = Ledger::connect(database).await;
    let zombie = JournalServer::start(SERVER, database, claims, way);
    let other = JournalServer::start(SERVER, database, claims, way);
    let first = freeze_at("before-transaction", &zombie, &new);
    let second = insist(other.address, "/payments", "k", &new).await;
    assert_eq!((second.status, second.replayed), (422, false), "the other one took over and refused");
    zombie.thaw();
    zombie.go_on();
    let first = first.await.expect("no panic").expect("an answer");
    assert_eq!((first.status, first.replayed, &first.body), (422, true, &second.body));
    assert_eq!(ledger.rows("a").await, 0);
}

/// Each scenario with claims in Redis and a journal in the database, and with both in the database.
macro_rules! scenarios {
    ($database:ident, $url:ident => $made:expr, $($scenario:ident)*) => {
        mod $database {
            use super::*;

            $(mod $scenario {
                use super::*;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn with_claims_in_redis() {
                    let redis = RedisServer::start();
                    let $url = $made;
                    super::super::$scenario(&$url.0, Claims::Redis(&redis.url())).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn with_claims_in_the_database() {
                    let $url = $made;
                    super::super::$scenario(&$url.0, Claims::Database).await;
                }
            })*
        }
    };
}

fn a_file() -> (String, tempfile::TempDir) {
    let directory = support::directory::in_memory();
    (format!("sqlite://{}", directory.path().join("ledger.db").display()), directory)
}

scenarios! {
    sqlite, url => a_file(),
    a_zombie_before_its_transaction_is_rolled_back
    what_a_later_attempt_refused_is_not_committed_by_a_zombie
    what_a_later_attempt_refused_after_a_rollback_is_not_committed_by_a_zombie
}

scenarios! {
    postgresql, url => (Postgres::shared().new_url().await, ()),
    a_zombie_before_its_transaction_is_rolled_back
    a_zombie_with_its_payment_written_is_rolled_back
    what_a_later_attempt_refused_is_not_committed_by_a_zombie
    what_a_later_attempt_refused_after_a_rollback_is_not_committed_by_a_zombie
}
