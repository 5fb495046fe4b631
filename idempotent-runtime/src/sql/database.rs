//! The databases that a table of this crate can be in, and the calls that the code makes to each.

use std::future::Future;

use sqlx::{Connection, Database, Executor, Pool, TransactionManager};

use super::schema::{DatabaseKind, Schema};

/// A database whose transactions [`Claim::commit`](crate::Claim::commit) takes: `sqlx::Sqlite` (feature `sqlx-sqlite`) or
/// `sqlx::Postgres` (feature `sqlx-postgres`). Not to be implemented elsewhere.
pub trait JournalDatabase: Dialect {}

/// The values of one row, in the types that both databases take.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) fingerprint: &'a [u8],
    pub(crate) token: &'a [u8],
    pub(crate) fence: i64,
    pub(crate) record: &'a [u8],
    pub(crate) ttl_millis: i64,
}

/// A committed row: its fingerprint, token and record, and how many milliseconds it still counts.
pub(crate) type Found = (Vec<u8>, Vec<u8>, Vec<u8>, i64);

/// The calls to a database whose sqlx types differ by its kind. Public only since the bound of a public function names it.
pub trait Dialect: Database {
    #[doc(hidden)]
    fn is(schema: &Schema) -> bool;

    /// Whether the key was free. Waits for a transaction that has just written it.
    #[doc(hidden)]
    fn insert(
        connection: &mut Self::Connection,
        schema: &Schema,
        values: Values<'_>,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Whether the claim was still this attempt's, by [`Schema::save_steps`].
    #[doc(hidden)]
    fn save_steps(
        connection: &mut Self::Connection,
        sql: &str,
        key: &[u8],
        token: &[u8],
        steps: &[u8],
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Reads a row by [`Schema::find`].
    #[doc(hidden)]
    fn find(
        connection: &mut Self::Connection,
        sql: &str,
        key: &[u8],
    ) -> impl Future<Output = Result<Option<Found>, sqlx::Error>> + Send;

    /// As [`find`](Self::find), over a connection of the pool's.
    #[doc(hidden)]
    fn find_over(
        pool: &Pool<Self>,
        sql: &str,
        key: &[u8],
    ) -> impl Future<Output = Result<Option<Found>, sqlx::Error>> + Send {
        async move { Self::find(&mut *pool.acquire().await?, sql, key).await }
    }

    /// Whether the connection's innermost transaction is a savepoint of another one.
    #[doc(hidden)]
    fn in_savepoint(connection: &mut Self::Connection) -> impl Future<Output = Result<bool, sqlx::Error>> + Send {
        async {
            if Self::TransactionManager::get_transaction_depth(connection) < 2 {
                return Ok(false);
            }
            // A savepoint that was dropped a moment ago is rolled back before the next command is carried out.
            connection.ping().await?;
            Ok(Self::TransactionManager::get_transaction_depth(connection) > 1)
        }
    }

    /// COMMIT, without giving up the connection as [`sqlx::Transaction::commit`] does.
    #[doc(hidden)]
    fn commit(connection: &mut Self::Connection) -> impl Future<Output = Result<(), sqlx::Error>> + Send {
        Self::TransactionManager::commit(connection)
    }

    /// ROLLBACK, without giving up the connection as [`sqlx::Transaction::rollback`] does.
    #[doc(hidden)]
    fn roll_back(connection: &mut Self::Connection) -> impl Future<Output = Result<(), sqlx::Error>> + Send {
        Self::TransactionManager::rollback(connection)
    }

    /// Like [`insert`](Self::insert), in a transaction of its own.
    #[doc(hidden)]
    fn seal(
        pool: &Pool<Self>,
        schema: &Schema,
        values: Values<'_>,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Inserts and rolls back: it returns when no transaction that has written the key is open any more.
    #[doc(hidden)]
    fn probe(
        pool: &Pool<Self>,
        schema: &Schema,
        values: Values<'_>,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    #[doc(hidden)]
    fn reap(pool: &Pool<Self>, schema: &Schema, most: i64) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

    #[doc(hidden)]
    fn migrate(pool: &Pool<Self>, schema: &Schema) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// sqlx's types for arguments and rows differ by database; the code does not.
macro_rules! dialect {
    ($database:ident, own = $own:literal, migrate = $migrate:literal, lock = $lock:expr) => {
        impl JournalDatabase for sqlx::$database {}

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
                let query = sqlx::query(&schema.insert).bind(key).bind(fingerprint).bind(token).bind(fence);
                let done = query.bind(record).bind(ttl_millis).execute(connection).await?;
                Ok(done.rows_affected() == 1)
            }

            async fn save_steps(
                connection: &mut Self::Connection,
                sql: &str,
                key: &[u8],
                token: &[u8],
                steps: &[u8],
            ) -> Result<bool, sqlx::Error> {
                let done = sqlx::query(sql).bind(key).bind(token).bind(steps).execute(connection).await?;
                Ok(done.rows_affected() == 1)
            }

            async fn find(
                connection: &mut Self::Connection,
                sql: &str,
                key: &[u8],
            ) -> Result<Option<Found>, sqlx::Error> {
                sqlx::query_as(sql).bind(key).fetch_optional(connection).await
            }

            async fn seal(pool: &Pool<Self>, schema: &Schema, values: Values<'_>) -> Result<bool, sqlx::Error> {
                let mut own = pool.begin_with($own).await?;
                let inserted = Self::insert(&mut own, schema, values).await?;
                own.commit().await?;
                Ok(inserted)
            }

            async fn probe(pool: &Pool<Self>, schema: &Schema, values: Values<'_>) -> Result<(), sqlx::Error> {
                let mut probe = pool.begin_with($own).await?;
                Self::insert(&mut probe, schema, values).await?;
                probe.rollback().await
            }

            async fn reap(pool: &Pool<Self>, schema: &Schema, most: i64) -> Result<u64, sqlx::Error> {
                Ok(sqlx::query(&schema.reap).bind(most).execute(pool).await?.rows_affected())
            }

            async fn migrate(pool: &Pool<Self>, schema: &Schema) -> Result<(), sqlx::Error> {
                let mut connection = pool.acquire().await?;
                // The usual start asks for no lock, which others that write might hold.
                let version = sqlx::query_scalar::<_, i64>(&schema.version).fetch_one(&mut *connection).await;
                if version.is_ok_and(|version| usize::try_from(version).unwrap_or(0) >= schema.steps.len()) {
                    return Ok(());
                }
                let mut migration = connection.begin_with($migrate).await?;
                if let Some(lock) = $lock {
                    migration.execute(lock).await?;
                }
                migration.execute(schema.versions.as_str()).await?;
                let version: i64 = sqlx::query_scalar(&schema.version).fetch_one(&mut *migration).await?;
                for step in schema.steps.iter().skip(usize::try_from(version).unwrap_or(0)) {
                    migration.execute(step.as_str()).await?;
                }
                migration.commit().await
            }
        }
    };
}

#[cfg(feature = "sqlx-sqlite")]
dialect!(Sqlite, own = "BEGIN IMMEDIATE", migrate = "BEGIN IMMEDIATE", lock = None::<&str>);

// READ COMMITTED: at a higher level a conflict with a transaction that was waited for is an error and not a row. The lock
// lets processes that start together migrate one after the other; its number is arbitrary and used for nothing else.
#[cfg(feature = "sqlx-postgres")]
dialect!(
    Postgres,
    own = "BEGIN ISOLATION LEVEL READ COMMITTED",
    migrate = "BEGIN",
    lock = Some("SELECT pg_advisory_xact_lock(7233193520741019221)")
);
