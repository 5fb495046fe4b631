//! A nightly job that two machines start: one runs it, and after a crash the other takes it over.
//!
//! The key is the slot of the schedule. `DATABASE_URL=sqlite://reports.db?mode=rwc cargo run --example nightly -- 2026-11-29`

use std::{env, process::ExitCode, time::Duration};

use idempotent_runtime::{Claim, Idempotency, Outcome, SqlStore};
use sqlx::SqlitePool;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let slot = env::args().nth(1).ok_or("which night? Give its date, such as 2026-11-29")?;
    let pool = SqlitePool::connect(&env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS reports (night TEXT NOT NULL)").execute(&pool).await?;
    let store = SqlStore::sqlite(pool.clone());
    store.migrate().await?;
    // Nobody waits for the job. So it rather waits for a slow database than fails.
    let idempotency = Idempotency::builder(store).namespace("nightly").store_timeout(Duration::from_secs(10)).build();

    // Waits for the other machine, and takes over if that one dies.
    let operation =
        idempotency.operation("reports").key(&slot).lease(Duration::from_secs(1)).wait(Duration::from_secs(60));
    let outcome = operation
        .run(async move |claim: Claim| {
            println!("{slot} begins; recovering: {}", claim.recovering());
            // Long work, in steps. What a dead machine has done is not done again.
            for part in ["collect", "render"] {
                let take = Duration::from_millis(500);
                let work = async || {
                    tokio::time::sleep(take).await;
                    Ok::<_, sqlx::Error>(())
                };
                claim.step(part, work).await?;
                println!("{part} is done");
            }
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
            sqlx::query("INSERT INTO reports (night) VALUES (?)").bind(&slot).execute(&mut *tx).await?;
            Ok::<_, Error>(claim.commit_value(tx, slot).await?)
        })
        .await;
    match outcome {
        Ok(Outcome::Ran(slot) | Outcome::Replayed(slot)) => {
            println!("{slot} is done");
            Ok(ExitCode::SUCCESS)
        }
        Ok(other) => {
            eprintln!("not done: {other:?}");
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into_effect().unwrap_or_else(Error::from)),
    }
}
