//! A result that is committed with the effect, in the caller's own transaction.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use idempotent_runtime::{Claim, CommitError, Idempotency, Outcome, RunError, SqlStore};
use serde::{Deserialize, Serialize};
use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Receipt {
    order: i64,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A database with orders, whose table the claims are in as well.
async fn database() -> (SqlitePool, Idempotency) {
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    sqlx::raw_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)").execute(&pool).await.unwrap();
    let store = SqlStore::sqlite(pool.clone());
    store.migrate().await.unwrap();
    (pool, Idempotency::new(store))
}

async fn orders(pool: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(pool).await.unwrap()
}

/// Orders once, and commits the receipt with the order. Then returns the receipt, or what `end` makes of it.
async fn order(
    pool: &SqlitePool,
    idempotency: &Idempotency,
    end: impl FnOnce(Receipt) -> Result<Receipt, Failed> + Send + 'static,
) -> Result<Outcome<Receipt>, RunError<Failed>> {
    let pool = pool.clone();
    let operation = idempotency.operation("orders.created").key("m1");
    let run = operation.run(async move |claim: Claim| {
        let mut tx = pool.begin().await?;
        let order = sqlx::query_scalar("INSERT INTO orders DEFAULT VALUES RETURNING id").fetch_one(&mut *tx).await?;
        end(claim.commit_value(tx, Receipt { order }).await?)
    });
    run.await
}

#[tokio::test]
async fn an_order_and_its_receipt_are_committed_together() {
    let (pool, idempotency) = database().await;
    assert_eq!(order(&pool, &idempotency, Ok).await.unwrap(), Outcome::Ran(Receipt { order: 1 }));
    assert_eq!(order(&pool, &idempotency, Ok).await.unwrap(), Outcome::Replayed(Receipt { order: 1 }));
    assert_eq!(orders(&pool).await, 1);
}

#[tokio::test]
async fn what_is_committed_is_the_result_whatever_the_effect_returns_afterwards() {
    let (pool, idempotency) = database().await;
    let failed = order(&pool, &idempotency, |_| Err(sqlx::Error::RowNotFound.into())).await.unwrap();
    assert_eq!(failed, Outcome::Ran(Receipt { order: 1 }));
    assert_eq!(order(&pool, &idempotency, Ok).await.unwrap(), Outcome::Replayed(Receipt { order: 1 }));
    assert_eq!(orders(&pool).await, 1);
}

#[tokio::test]
async fn a_transaction_that_is_not_committed_leaves_no_result() {
    let (pool, idempotency) = database().await;
    let attempts = AtomicUsize::new(0);
    let run = || {
        let (pool, first) = (pool.clone(), attempts.fetch_add(1, SeqCst) == 0);
        idempotency.operation("orders.created").key("m1").run(async move |claim: Claim| {
            let mut tx = pool.begin().await?;
            sqlx::query("INSERT INTO orders DEFAULT VALUES").execute(&mut *tx).await?;
            if first {
                return Err(Failed::Database(sqlx::Error::RowNotFound));
            }
            Ok(claim.commit_value(tx, Receipt { order: 7 }).await?)
        })
    };
    assert!(matches!(run().await, Err(RunError::Effect(Failed::Database(_)))));
    assert_eq!(run().await.unwrap(), Outcome::Ran(Receipt { order: 7 }));
    assert_eq!(orders(&pool).await, 1);
}
