//! The databases that may hold one of our tables, and the calls that the code makes to each.

use std::future::Future;

use sqlx::{Connection, Executor, Pool, TransactionManager};

use super::{
    lent::{Lends, Lent},
    schema::{DatabaseKind, Schema},
};

/// A database whose transactions [`Claim::commit`](crate::Claim::commit) accepts: `sqlx::Sqlite` (feature
/// `sqlx-sqlite`) or `sqlx::Postgres` (feature `sqlx-postgres`). It cannot be implemented outside this crate.
pub trait CommitDatabase: Dialect {}

/// The values of one row, in types that both databases accept.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) fingerprint: &'a [u8],
    pub(crate) token: &'a [u8],
    pub(crate) fence: i64,
    pub(crate) record: &'a [u8],
    pub(crate) ttl_millis: i64,
}

/// A committed row: fingerprint, token, record, and the milliseconds until it expires.
pub(crate) type Found = (Vec<u8>, Vec<u8>, Vec<u8>, i64);

/// A row of a claim: token, state, steps.
pub(crate) type FoundSteps = (Vec<u8>, i64, Option<Vec<u8>>);

/// The calls to a database, because sqlx's types differ between databases. It is only public because the bound of a
/// public function names it.
pub trait Dialect: Lends {
    #[doc(hidden)]
    fn is(schema: &Schema) -> bool;

    /// Inserts a row. Returns whether the key was free. Waits for an open transaction that has written the same key.
    #[doc(hidden)]
    fn insert(
        connection: &mut Self::Connection,
        schema: &Schema,
        values: Values<'_>,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Runs [`Schema::save_steps`]. Returns whether this attempt still had the claim.
    #[doc(hidden)]
    fn save_steps(
        connection: &mut Self::Connection,
        sql: &str,
        key: &[u8],
        token: &[u8],
        steps: &[u8],
        change: i64,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Runs [`Schema::settle_steps`].
    #[doc(hidden)]
    fn settle_steps(
        connection: &mut Self::Connection,
        sql: &str,
        key: &[u8],
    ) -> impl Future<Output = Result<Option<FoundSteps>, sqlx::Error>> + Send;

    /// Reads a row with [`Schema::find`].
    #[doc(hidden)]
    fn find(
        connection: &mut Self::Connection,
        sql: &str,
        key: &[u8],
    ) -> impl Future<Output = Result<Option<Found>, sqlx::Error>> + Send;

    /// Like [`find`](Self::find), over a connection from the pool.
    #[doc(hidden)]
    fn find_over(
        pool: &Pool<Self>,
        sql: &str,
        key: &[u8],
    ) -> impl Future<Output = Result<Option<Found>, sqlx::Error>> + Send {
        async move {
            let mut lent = Lent::by(pool).await?;
            let found = Self::find(lent.connection()?, sql, key).await;
            lent.answered(found)
        }
    }

    /// Whether the innermost transaction of the connection is a savepoint.
    #[doc(hidden)]
    fn in_savepoint(connection: &mut Self::Connection) -> impl Future<Output = Result<bool, sqlx::Error>> + Send {
        async {
            if Self::TransactionManager::get_transaction_depth(connection) < 2 {
                return Ok(false);
            }
            // sqlx rolls back a dropped savepoint before it sends the next command. This is that command.
            connection.ping().await?;
            Ok(Self::TransactionManager::get_transaction_depth(connection) > 1)
        }
    }

    /// COMMIT. It keeps the connection, which [`sqlx::Transaction::commit`] does not.
    #[doc(hidden)]
    fn commit(connection: &mut Self::Connection) -> impl Future<Output = Result<(), sqlx::Error>> + Send {
        Self::TransactionManager::commit(connection)
    }

    /// ROLLBACK. It keeps the connection, which [`sqlx::Transaction::rollback`] does not.
    #[doc(hidden)]
    fn roll_back(connection: &mut Self::Connection) -> impl Future<Output = Result<(), sqlx::Error>> + Send {
        Self::TransactionManager::rollback(connection)
    }

    /// Like [`insert`](Self::insert), in its own transaction. Returns whether the key was free. Without `keep` it rolls
    /// back: when it returns, no open transaction has written the key.
    #[doc(hidden)]
    fn insert_over(
        pool: &Pool<Self>,
        schema: &Schema,
        values: Values<'_>,
        keep: bool,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    #[doc(hidden)]
    fn delete_expired(
        pool: &Pool<Self>,
        schema: &Schema,
        most: i64,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

    #[doc(hidden)]
    fn migrate(pool: &Pool<Self>, schema: &Schema) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// The code is the same for both databases, but sqlx's types for arguments and rows differ.
macro_rules! dialect {
    ($database:ident, own = $own:literal, migrate = $migrate:literal, lock = $lock:expr) => {
        impl CommitDatabase for sqlx::$database {}

        impl Dialect for sqlx::$database {
            fn is(schema: &Schema) -> bool {
                schema.kind == DatabaseKind::$database
            }

            async fn insert(
                connection: &mut Self::Connection,
                schema: &Schema,
                values: Values<'_>,
            ) -> Result<bool, sqlx::Error> {
                let Values { key, fingerprint, token, fence, record, ttl_millis } = values;
                let query = sqlx::query(&schema.commit).bind(key).bind(fingerprint).bind(token).bind(fence);
                let done = query.bind(record).bind(ttl_millis).execute(connection).await?;
                Ok(done.rows_affected() == 1)
            }

            async fn save_steps(
                connection: &mut Self::Connection,
                sql: &str,
                key: &[u8],
                token: &[u8],
                steps: &[u8],
                change: i64,
            ) -> Result<bool, sqlx::Error> {
                let query = sqlx::query(sql).bind(key).bind(token).bind(steps).bind(change);
                let done = query.execute(connection).await?;
                Ok(done.rows_affected() == 1)
            }

            async fn settle_steps(
                connection: &mut Self::Connection,
                sql: &str,
                key: &[u8],
            ) -> Result<Option<FoundSteps>, sqlx::Error> {
                sqlx::query_as(sql).bind(key).fetch_optional(connection).await
            }

            async fn find(
                connection: &mut Self::Connection,
                sql: &str,
                key: &[u8],
            ) -> Result<Option<Found>, sqlx::Error> {
                sqlx::query_as(sql).bind(key).fetch_optional(connection).await
            }

            async fn insert_over(
                pool: &Pool<Self>,
                schema: &Schema,
                values: Values<'_>,
                keep: bool,
            ) -> Result<bool, sqlx::Error> {
                let mut lent = Lent::by(pool).await?;
                let connection = lent.connection()?;
                let inserted = async {
                    let mut own = connection.begin_with($own).await?;
                    let inserted = Self::insert(&mut own, schema, values).await?;
                    if keep {
                        own.commit().await?
                    } else {
                        own.rollback().await?
                    }
                    Ok(inserted)
                };
                let inserted = inserted.await;
                lent.answered(inserted)
            }

            async fn delete_expired(pool: &Pool<Self>, schema: &Schema, most: i64) -> Result<u64, sqlx::Error> {
                let mut lent = Lent::by(pool).await?;
                let deleted = sqlx::query(&schema.delete_expired).bind(most).execute(lent.connection()?).await;
                Ok(lent.answered(deleted)?.rows_affected())
            }

            async fn migrate(pool: &Pool<Self>, schema: &Schema) -> Result<(), sqlx::Error> {
                let mut connection = pool.acquire().await?;
                // Usually the table is up to date. This check takes no lock, so it does not wait for other writers.
                let version = sqlx::query_scalar::<_, i64>(&schema.version).fetch_one(&mut *connection).await;
                if version.is_ok_and(|version| schema.migration(version).is_empty()) {
                    return Ok(());
                }
                let mut migration = connection.begin_with($migrate).await?;
                if let Some(lock) = $lock {
                    migration.execute(lock).await?;
                }
                migration.execute(schema.versions.as_str()).await?;
                let version: i64 = sqlx::query_scalar(&schema.version).fetch_one(&mut *migration).await?;
                for step in schema.migration(version) {
                    migration.execute(step.as_str()).await?;
                }
                migration.commit().await
            }
        }
    };
}

#[cfg(feature = "sqlx-sqlite")]
dialect!(Sqlite, own = "BEGIN IMMEDIATE", migrate = "BEGIN IMMEDIATE", lock = None::<&str>);

// READ COMMITTED, and not the database's default: at a higher level, waiting for another transaction would end in an
// error instead of a row, and a migration would not see what the one before it has made. The lock makes processes that
// start at the same time migrate one after the other. Its number is arbitrary and used for nothing else.
#[cfg(feature = "sqlx-postgres")]
dialect!(
    Postgres,
    own = "BEGIN ISOLATION LEVEL READ COMMITTED",
    migrate = "BEGIN ISOLATION LEVEL READ COMMITTED",
    lock = Some("SELECT pg_advisory_xact_lock(7233193520741019221)")
);
