//! Checks whether what lies between the service and Postgres keeps prepared statements.

use std::time::Duration;

use sqlx::{Executor as _, PgPool};
use tokio::time::timeout;

use super::pool::one_beside;
use crate::store::BoxFuture;

/// The check is not needed for anything, so it need not wait long.
const CHECKED_WITHIN: Duration = Duration::from_secs(2);

/// The errors of a server that does not have a prepared statement, or has another one of the same name.
const LOST: [&str; 2] = ["26000", "42P05"];

/// A pooler in transaction mode gives each transaction another connection to the server. A statement that was prepared
/// before is then unknown, unless the pooler prepares it there again.
pub(super) fn is_lost_statement(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| LOST.contains(&&*code))
}

/// The error of a statement that was prepared over one connection and is repeated while another one holds the server's.
/// `None` if it works, or if that could not be found out.
pub(super) fn loses_statements(pool: PgPool) -> BoxFuture<'static, Option<sqlx::Error>> {
    Box::pin(async move {
        let beside = one_beside(&pool);
        let found = timeout(CHECKED_WITHIN, repeated(pool, beside.clone())).await;
        beside.close().await;
        match found {
            Ok(Err(error)) if is_lost_statement(&error) => Some(error),
            _ => None,
        }
    })
}

async fn repeated(pool: PgPool, beside: PgPool) -> Result<(), sqlx::Error> {
    let mut first = pool.acquire().await?;
    sqlx::query("SELECT 1").execute(&mut *first).await?;
    let mut holds = beside.begin().await?;
    holds.execute("SELECT 1").await?;
    sqlx::query("SELECT 1").execute(&mut *first).await?;
    holds.rollback().await
}
