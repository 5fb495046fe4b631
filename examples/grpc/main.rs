//! A gRPC method that is safe to retry: the key is in the call's metadata, and only OK is stored.
//!
//! `DATABASE_URL=sqlite://payments.db?mode=rwc cargo run --example grpc`. It has the payments and the keys, so that a
//! payment is committed together with its receipt. Start several with one database, each with another `PORT`.
//!
//! A client retries as gRPC's retry policy does, if its service config lists `ABORTED` and `UNAVAILABLE` as retryable:
//! <https://github.com/grpc/proposal/blob/master/A6-client-retries.md>.

use std::{env, time::Duration};

use grpc::{
    Payment, Receipt,
    payments_server::{Payments, PaymentsServer},
};
use idempotent_runtime::{Claim, Idempotency, Outcome, RunError, SqlStore};
use sqlx::SqlitePool;
use tonic::{
    Code, Request, Response, Status,
    metadata::MetadataMap,
    transport::{Server, server::TcpIncoming},
};

struct Service {
    idempotency: Idempotency,
    pool: SqlitePool,
}

#[tonic::async_trait]
impl Payments for Service {
    async fn pay(&self, request: Request<Payment>) -> Result<Response<Receipt>, Status> {
        let key = request.metadata().get("idempotency-key").and_then(|key| key.to_str().ok());
        let key = key.ok_or_else(|| Status::invalid_argument("the metadata has no `idempotency-key`"))?.to_owned();
        let payment = request.into_inner();
        let pool = self.pool.clone();
        // A service that knows its callers also sets `scope`, so that two of them never share a key.
        let operation = self.idempotency.operation("shop.Payments/Pay").key(key).fingerprint(&payment);
        reply(operation.run(async move |claim: Claim| charge(&pool, claim, payment).await).await)
    }
}

/// Writes the payment, and commits it together with its receipt.
async fn charge(pool: &SqlitePool, claim: Claim, payment: Payment) -> Result<Receipt, Status> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    let insert = "INSERT INTO payments (account, cents) SELECT name, ? FROM accounts WHERE name = ? RETURNING number";
    let insert = sqlx::query_scalar(insert).bind(payment.cents).bind(&payment.account).fetch_optional(&mut *tx);
    // An error frees the key: once the account exists, the same call succeeds.
    let number = insert.await.map_err(unavailable)?.ok_or_else(|| Status::not_found("there is no such account"))?;
    claim.commit_value(tx, Receipt { number }).await.map_err(unavailable)
}

fn unavailable(error: impl std::error::Error) -> Status {
    eprintln!("{error}");
    retry(Code::Unavailable, "the database did not take the payment", Duration::from_secs(1))
}

/// The receipt, or a status that says whether a retry can succeed, and when.
fn reply(outcome: Result<Outcome<Receipt>, RunError<Status>>) -> Result<Response<Receipt>, Status> {
    Err(match outcome {
        Ok(Outcome::Ran(receipt)) => return Ok(Response::new(receipt)),
        Ok(Outcome::Replayed(receipt)) => {
            let mut response = Response::new(receipt);
            response.metadata_mut().insert("idempotent-replayed", "true".parse().expect("ASCII"));
            return Ok(response);
        }
        Ok(Outcome::Running { left }) => retry(Code::Aborted, "the call with this key is still running", left),
        Ok(Outcome::KeyReused) => never(Code::FailedPrecondition, "the key was used for another payment"),
        Err(RunError::Effect(status)) => status,
        Err(error @ (RunError::StoreUnavailable | RunError::StoreFull | RunError::TooManyInFlight)) => {
            retry(Code::Unavailable, &error.to_string(), Duration::from_secs(1))
        }
        // An empty key, a record that cannot be read.
        Ok(outcome) => never(Code::Internal, &format!("{outcome:?}")),
        Err(error) => never(Code::Internal, &error.to_string()),
    })
}

/// A client waits for this time, and then calls again.
fn retry(code: Code, message: &str, after: Duration) -> Status {
    with_pushback(code, message, &after.as_millis().to_string())
}

/// The same call cannot succeed, so a client gives up.
fn never(code: Code, message: &str) -> Status {
    with_pushback(code, message, "-1")
}

/// gRPC's clients read this trailer: the milliseconds before the next try, or a negative number against any.
fn with_pushback(code: Code, message: &str, pushback: &str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("grpc-retry-pushback-ms", pushback.parse().expect("a number"));
    Status::with_metadata(code, message, metadata)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = SqlitePool::connect(&env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY);
         INSERT OR IGNORE INTO accounts VALUES ('alice');
         CREATE TABLE IF NOT EXISTS payments (number INTEGER PRIMARY KEY, account TEXT NOT NULL, cents INTEGER NOT NULL);",
    )
    .execute(&pool)
    .await?;
    let store = SqlStore::sqlite(pool.clone());
    store.migrate().await?;
    let idempotency = Idempotency::builder(store).namespace("payments").build();

    let port = env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let incoming = TcpIncoming::bind(format!("127.0.0.1:{port}").parse()?)?;
    println!("http://{}", incoming.local_addr()?);
    let service = PaymentsServer::new(Service { idempotency, pool });
    Ok(Server::builder().serve_with_incoming(service, incoming).await?)
}
