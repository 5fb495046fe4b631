//! Runs the SQL of the pages on Postgres.

use idempotent_runtime::SqlStore;
use sqlx::{Executor as _, PgPool, Row as _};
use support::postgres::Postgres;

/// The statements of the first block of SQL on a page.
fn statements(page: &'static str) -> impl Iterator<Item = &'static str> {
    let block = page.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of SQL");
    block.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}

#[tokio::test]
async fn postgres_understands_the_queries_of_the_run_book() {
    let pool = PgPool::connect(&Postgres::shared().new_url().await).await.unwrap();
    SqlStore::postgres(pool.clone()).migrate().await.unwrap();
    let queries: Vec<_> = statements(include_str!("../../docs/operations/runbook.md")).collect();
    assert!(queries.len() >= 4, "{queries:?}");
    for query in queries {
        pool.execute(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    }
}

#[tokio::test]
async fn a_unique_constraint_does_what_the_page_says() {
    let pool = PgPool::connect(&Postgres::shared().new_url().await).await.unwrap();
    let mut block = statements(include_str!("../../docs/adopting.md"));
    pool.execute(block.next().unwrap()).await.unwrap();
    let insert = block.next().unwrap();
    let first = sqlx::query(insert).bind("alice").bind("k").bind(4200_i64).fetch_all(&pool).await.unwrap();
    assert_eq!(first.iter().map(|row| row.get::<i64, _>(0)).collect::<Vec<_>>(), [1]);
    let again = sqlx::query(insert).bind("alice").bind("k").bind(4200_i64).fetch_all(&pool).await.unwrap();
    assert!(again.is_empty(), "the second insertion does nothing");
    let another = sqlx::query(insert).bind("bob").bind("k").bind(4200_i64).fetch_all(&pool).await.unwrap();
    assert_eq!(another.len(), 1, "another account has its own keys");
}
