//! The example of a gRPC method, called by tonic's own client.

use std::time::{Duration, Instant};

use grpc::{Payment, PaymentsClient, Receipt};
use idempotent_runtime::{Claim, Idempotency, SqlStore};
use sqlx::SqlitePool;
use support::{example::Example, proxy::Proxy};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tonic::{Code, Request, Response, Status};

use crate::PATIENCE;

/// The service's database, which servers and the test open.
struct Database {
    url: String,
    _directory: TempDir,
}

impl Database {
    fn new() -> Self {
        let directory = support::directory::in_memory();
        let url = format!("sqlite://{}?mode=rwc", directory.path().join("payments.db").display());
        Self { url, _directory: directory }
    }

    fn serve(&self) -> Example {
        Example::start("grpc", &[("DATABASE_URL", &self.url)])
    }

    async fn open(&self) -> SqlitePool {
        SqlitePool::connect(&self.url).await.unwrap()
    }
}

async fn payments(database: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM payments").fetch_one(database).await.unwrap()
}

fn payment(account: &str, cents: u32) -> Payment {
    Payment { account: account.to_owned(), cents }
}

async fn pay(address: &str, key: &str, payment: Payment) -> Result<Response<Receipt>, Status> {
    let client = PaymentsClient::connect(format!("http://{address}")).await;
    let mut request = Request::new(payment);
    request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
    client.map_err(|error| Status::unavailable(error.to_string()))?.pay(request).await
}

/// Pays, again after a pause for as long as the store is not available: the example has the default time-out, so an answer may
/// be late on a busy machine.
async fn pay_until_answered(address: &str, key: &str, payment: Payment) -> Result<Response<Receipt>, Status> {
    let begun = Instant::now();
    loop {
        let answer = pay(address, key, payment.clone()).await;
        let is_later = answer.as_ref().is_err_and(|status| matches!(status.code(), Code::Unavailable));
        if !is_later || begun.elapsed() > PATIENCE {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The status code, and the milliseconds after which gRPC's clients try again.
fn refusal(response: Result<Response<Receipt>, Status>) -> (Code, Option<i64>) {
    let status = response.expect_err("a refusal");
    let pushback = status.metadata().get("grpc-retry-pushback-ms");
    (status.code(), pushback.map(|pushback| pushback.to_str().unwrap().parse().unwrap()))
}

fn is_replay(response: &Response<Receipt>) -> bool {
    response.metadata().get("idempotent-replayed").is_some_and(|value| value == "true")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_server_is_killed_before_its_reply_is_retried_at_another_and_pays_once() {
    let database = Database::new();
    let (killed, other) = (database.serve(), database.serve());
    let pool = database.open().await;
    let proxy = Proxy::to(killed.address.parse().unwrap()).await;
    proxy.swallow_answers();
    let address = proxy.address().to_string();
    let call = tokio::spawn(async move { pay(&address, "k", payment("alice", 500)).await });
    while payments(&pool).await == 0 {
        assert!(!call.is_finished(), "{:?}", call.await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // By SIGKILL.
    drop(killed);
    drop(proxy);
    let lost = call.await.unwrap().expect_err("no reply");
    assert!(matches!(lost.code(), Code::Unavailable | Code::Unknown | Code::Cancelled), "{lost}");

    let retried = pay_until_answered(&other.address, "k", payment("alice", 500)).await.unwrap();
    assert!(is_replay(&retried));
    assert_eq!(retried.into_inner(), Receipt { number: 1 });
    assert_eq!(payments(&pool).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_a_key_that_is_running_is_aborted_with_the_time_of_the_next_try() {
    let database = Database::new();
    let server = database.serve();
    // The test is the process that runs it.
    let store = SqlStore::sqlite(database.open().await);
    let idempotency = Idempotency::builder(store).namespace("payments").build();
    let operation = idempotency.operation("shop.Payments/Pay").key("k").fingerprint(&payment("alice", 500));
    let operation = operation.lease(Duration::from_secs(20));
    let ((begun, has_begun), (end, ended)) = (oneshot::channel(), oneshot::channel());
    let effect = async move |_claim: Claim| {
        begun.send(()).unwrap();
        ended.await.map(|()| Receipt { number: 7 })
    };
    let run = async {
        has_begun.await.unwrap();
        let (code, pushback) = refusal(pay_until_answered(&server.address, "k", payment("alice", 500)).await);
        assert_eq!(code, Code::Aborted);
        assert!(pushback.is_some_and(|time| (1..=20_000).contains(&time)), "{pushback:?}");
        end.send(()).unwrap();
    };
    let (outcome, ()) = tokio::join!(operation.run(effect), run);
    assert!(outcome.unwrap().is_done());
    let response = pay_until_answered(&server.address, "k", payment("alice", 500)).await.unwrap();
    assert_eq!(response.into_inner(), Receipt { number: 7 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_comes_with_another_payment_fails_for_good() {
    let database = Database::new();
    let server = database.serve();
    let first = pay_until_answered(&server.address, "k", payment("alice", 500)).await.unwrap();
    assert!(!is_replay(&first));
    let other = pay_until_answered(&server.address, "k", payment("alice", 900)).await;
    assert_eq!(refusal(other), (Code::FailedPrecondition, Some(-1)));
    assert_eq!(payments(&database.open().await).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_answer_is_unavailable_and_the_retry_succeeds() {
    let database = Database::new();
    let server = database.serve();
    let pool = database.open().await;
    // Nobody else can write.
    let lock = pool.begin_with("BEGIN EXCLUSIVE").await.unwrap();
    let (code, pushback) = refusal(pay(&server.address, "k", payment("alice", 500)).await);
    assert_eq!((code, pushback), (Code::Unavailable, Some(1000)));
    lock.rollback().await.unwrap();
    // The first call's claim may have arrived late; it is released.
    let begun = Instant::now();
    while let Err(status) = pay(&server.address, "k", payment("alice", 500)).await {
        let is_later = matches!(status.code(), Code::Aborted | Code::Unavailable);
        assert!(is_later && begun.elapsed() < PATIENCE, "{status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(payments(&pool).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_payment_that_succeeded_is_stored() {
    let database = Database::new();
    let server = database.serve();
    let pool = database.open().await;
    for _ in 0..2 {
        assert_eq!(
            refusal(pay_until_answered(&server.address, "k", payment("bob", 500)).await),
            (Code::NotFound, None)
        );
    }
    sqlx::query("INSERT INTO accounts VALUES ('bob')").execute(&pool).await.unwrap();
    for is_second in [false, true] {
        let response = pay_until_answered(&server.address, "k", payment("bob", 500)).await.unwrap();
        assert_eq!(is_replay(&response), is_second);
    }
    assert_eq!(payments(&pool).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_key_is_an_invalid_argument() {
    let database = Database::new();
    let server = database.serve();
    let mut client = PaymentsClient::connect(format!("http://{}", server.address)).await.unwrap();
    assert_eq!(refusal(client.pay(payment("alice", 500)).await), (Code::InvalidArgument, None));
    assert_eq!(payments(&database.open().await).await, 0);
}
