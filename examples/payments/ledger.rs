//! The ledger: all payments that were made, in SQLite or in Postgres.

use std::{env, error::Error, path::Path};

use axum::response::{IntoResponse, Response};
use idempotent_runtime::{Claim, SqlStore};
use serde::{Deserialize, Serialize};
use sqlx::{
    ColumnIndex, Decode, FromRow, PgPool, Postgres, Row, Sqlite, SqlitePool, Transaction, Type,
    sqlite::SqliteConnectOptions,
};
use utoipa::ToSchema;

use crate::refused::Refused;

/// What a client asks for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct NewPayment {
    pub(crate) account: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
}

/// A payment in the ledger.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Payment {
    pub(crate) id: i64,
    pub(crate) account: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) refunded: bool,
}

/// Every payment, in the order in which they were made.
#[derive(Clone)]
pub(crate) enum Ledger {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A transaction of the ledger. If it is dropped before it is committed, it is rolled back.
pub(crate) enum Entry {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Ledger {
    /// Opens the Postgres or SQLite database of `DATABASE_URL`. If the variable is not set, opens this file with SQLite.
    /// Returns the ledger, and the name of the place for people.
    pub(crate) async fn open(file: &Path) -> Result<(Self, String), Box<dyn Error>> {
        match env::var("DATABASE_URL") {
            Ok(url) if url.starts_with("postgres") => {
                let pool = PgPool::connect(&url).await?;
                sqlx::query(&create("bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY")).execute(&pool).await?;
                Ok((Self::Postgres(pool), "Postgres".to_owned()))
            }
            chosen => {
                let url = chosen.unwrap_or_else(|_| format!("sqlite://{}", file.display()));
                let options: SqliteConnectOptions = url.parse()?;
                let pool = SqlitePool::connect_with(options.create_if_missing(true)).await?;
                sqlx::query(&create("INTEGER PRIMARY KEY")).execute(&pool).await?;
                Ok((Self::Sqlite(pool), url))
            }
        }
    }

    /// A store in the same database. `Entry::commit` commits a response in it together with the payment.
    pub(crate) fn store(&self) -> SqlStore {
        match self {
            Self::Sqlite(pool) => SqlStore::sqlite(pool.clone()),
            Self::Postgres(pool) => SqlStore::postgres(pool.clone()),
        }
    }

    pub(crate) async fn begin(&self) -> sqlx::Result<Entry> {
        Ok(match self {
            // SQLite has one writer. This transaction is the writer from its first statement, so it cannot be refused later.
            Self::Sqlite(pool) => Entry::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Entry::Postgres(pool.begin().await?),
        })
    }

    pub(crate) async fn all(&self) -> sqlx::Result<Vec<Payment>> {
        let all = "SELECT * FROM payments ORDER BY id";
        match self {
            Self::Sqlite(pool) => sqlx::query_as(all).fetch_all(pool).await,
            Self::Postgres(pool) => sqlx::query_as(all).fetch_all(pool).await,
        }
    }
}

impl Entry {
    pub(crate) async fn add(&mut self, new: NewPayment) -> sqlx::Result<Payment> {
        let NewPayment { account, amount, currency } = new;
        let add = "INSERT INTO payments (account, amount, currency) VALUES ($1, $2, $3) RETURNING *";
        match self {
            Self::Sqlite(tx) => {
                sqlx::query_as(add).bind(account).bind(amount).bind(currency).fetch_one(&mut **tx).await
            }
            Self::Postgres(tx) => {
                sqlx::query_as(add).bind(account).bind(amount).bind(currency).fetch_one(&mut **tx).await
            }
        }
    }

    /// Refunds a payment and returns it. `None` if there is no payment with this id, or if it is refunded already.
    pub(crate) async fn refund(&mut self, id: i64) -> sqlx::Result<Option<Payment>> {
        let refund = "UPDATE payments SET refunded = true WHERE id = $1 AND NOT refunded RETURNING *";
        match self {
            Self::Sqlite(tx) => sqlx::query_as(refund).bind(id).fetch_optional(&mut **tx).await,
            Self::Postgres(tx) => sqlx::query_as(refund).bind(id).fetch_optional(&mut **tx).await,
        }
    }

    /// Commits the entry together with the response. After a crash, either both are in the database or neither is.
    pub(crate) async fn commit(self, claim: &Claim, response: impl IntoResponse) -> Result<Response, Refused> {
        let committed = match self {
            Self::Sqlite(tx) => claim.commit(tx, response).await?,
            Self::Postgres(tx) => claim.commit(tx, response).await?,
        };
        Ok(committed.into_response())
    }
}

/// Reads a payment from a row of either database.
impl<'r, R: Row> FromRow<'r, R> for Payment
where
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let (id, account, amount) = (row.try_get("id")?, row.try_get("account")?, row.try_get("amount")?);
        Ok(Self { id, account, amount, currency: row.try_get("currency")?, refunded: row.try_get("refunded")? })
    }
}

fn create(id: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS payments (id {id}, account TEXT NOT NULL, amount BIGINT NOT NULL, \
         currency TEXT NOT NULL, refunded BOOLEAN NOT NULL DEFAULT false)"
    )
}
