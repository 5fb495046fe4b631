//! A worker of a job queue in the service's own Postgres: the effect, the job's result and the claim are one transaction.
//!
//! `DATABASE_URL=postgres://… cargo run --example jobs`; start as many as you like. It ends when no job is left.

use std::{env, time::Duration};

use idempotent_runtime::{Claim, CommitError, Idempotency, Outcome, SqlStore};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

#[derive(Debug, Serialize, Deserialize)]
struct Invoice {
    number: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = PgPool::connect(&env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql(
        "SELECT pg_advisory_xact_lock(1);
         CREATE TABLE IF NOT EXISTS jobs (id text PRIMARY KEY, customer text NOT NULL, invoice bigint);
         CREATE TABLE IF NOT EXISTS invoices (number bigint GENERATED ALWAYS AS IDENTITY, customer text NOT NULL);",
    )
    .execute(&pool)
    .await?;
    let store = SqlStore::postgres(pool.clone());
    store.migrate().await?;
    // Nobody waits for a worker. So it rather waits for a slow database than tries the job again.
    let idempotency = Idempotency::builder(store).namespace("jobs").store_timeout(Duration::from_secs(10)).build();
    println!("a worker starts");
    // Without locks: two workers may see one job. The claim lets one of them run it.
    let open = "SELECT id, customer FROM jobs WHERE invoice IS NULL ORDER BY random() LIMIT 1";
    while let Some((id, customer)) = sqlx::query_as::<_, (String, String)>(open).fetch_optional(&pool).await? {
        match invoice(&pool, &idempotency, &id, customer).await {
            Ok(Outcome::Running { left }) => tokio::time::sleep(left.min(Duration::from_millis(100))).await,
            Ok(outcome) => println!("{id}: {outcome:?}"),
            Err(error) => {
                eprintln!("{id} is tried again: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    Ok(())
}

/// Writes an invoice once for each job.
async fn invoice(
    pool: &PgPool,
    idempotency: &Idempotency,
    id: &str,
    customer: String,
) -> Result<Outcome<Invoice>, idempotent_runtime::RunError<CommitError>> {
    let (pool, job) = (pool.clone(), id.to_owned());
    let operation = idempotency.operation("jobs.invoice").key(id).lease(Duration::from_secs(2));
    let run = operation.run(async move |claim: Claim| {
        let mut tx = pool.begin().await?;
        let insert = "INSERT INTO invoices (customer) VALUES ($1) RETURNING number";
        let insert = sqlx::query_scalar(insert).bind(customer);
        let number: i64 = insert.fetch_one(&mut *tx).await?;
        let done = sqlx::query("UPDATE jobs SET invoice = $1 WHERE id = $2").bind(number).bind(job);
        done.execute(&mut *tx).await?;
        claim.commit_value(tx, Invoice { number }).await
    });
    run.await
}
