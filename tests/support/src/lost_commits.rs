//! Tests of a COMMIT that is lost, for every way in which the response is stored.

use std::time::Instant;

use crate::{
    app::Way,
    ledger::Ledger,
    postgres::Postgres,
    proxy::{LATE, Loss, Proxy},
    shop::{CREATED, Shop, payment},
};

/// The answer says whether the COMMIT took effect, and comes when that is known. After a retry there is one payment.
pub async fn a_commit_is_lost(way: Way, loss: Loss, open: impl AsyncFnOnce(Ledger) -> Shop) {
    let server = Postgres::shared();
    let database = server.database().await;
    let proxy = Proxy::to(server.address()).await;
    let ledger = Ledger::connect(&Postgres::url_at(proxy.address(), &database)).await;
    let shop = open(ledger.clone()).await;
    proxy.lose_next_commit(loss);
    let start = Instant::now();
    let first = shop.pay("k", &payment("a")).await;
    assert!(proxy.has_lost());
    let waited = start.elapsed();
    let committed = matches!(loss, Loss::AnswerLost | Loss::ArrivesLate);
    if matches!(loss, Loss::ArrivesLate | Loss::NeverArrivesAndStaysOpen) {
        assert!(waited >= LATE, "{way:?} {loss:?}: answered after {waited:?}, when nobody could know");
    }
    assert_eq!(ledger.rows("a").await, i64::from(committed), "{way:?} {loss:?}");
    let status = if committed { CREATED } else { 500 };
    assert_eq!((first.status, first.replayed), (status, false), "{way:?} {loss:?}: {first:?}");
    let again = shop.pay("k", &payment("a")).await;
    assert_eq!((again.status, again.replayed), (CREATED, committed), "{way:?} {loss:?}: {again:?}");
    assert_eq!(ledger.rows("a").await, 1, "{way:?} {loss:?}");
}

/// Makes a test of each loss, for each way of sending a COMMIT. The argument opens a shop on a ledger.
#[macro_export]
macro_rules! every_lost_commit {
    ($open:expr) => {
        $crate::lost_commits! { $open =>
            a_commit_whose_answer_is_lost_is_found: Commit, AnswerLost;
            a_commit_that_arrives_late_is_waited_for: Commit, ArrivesLate;
            a_commit_that_never_arrives_is_known_not_to_have_happened: Commit, NeverArrives;
            a_commit_that_never_arrives_is_not_judged_while_its_transaction_is_open: Commit, NeverArrivesAndStaysOpen;
            a_commit_of_the_handlers_own_whose_answer_is_lost_is_found: Record, AnswerLost;
            a_commit_of_the_handlers_own_that_arrives_late_is_waited_for: Record, ArrivesLate;
            a_commit_of_the_handlers_own_that_never_arrives_is_known_not_to_have_happened: Record, NeverArrives;
            a_commit_of_the_handlers_own_is_not_judged_while_its_transaction_is_open: Record, NeverArrivesAndStaysOpen;
        }
    };
}

/// Makes a test of each named loss.
#[macro_export]
macro_rules! lost_commits {
    ($open:expr => $($name:ident: $way:ident, $loss:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let (way, loss) = ($crate::app::Way::$way, $crate::proxy::Loss::$loss);
            $crate::lost_commits::a_commit_is_lost(way, loss, async |ledger| $open(ledger, way).await).await;
        })*
    };
}
