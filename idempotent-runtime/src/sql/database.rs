//! The databases that a table of ours can be in, and how each is spoken to.

use std::future::Future;

use sqlx::{Connection, Database, Executor, Pool};

use super::schema::{Dialect, Schema};

/// A database whose transactions [`Claim::commit`](crate::Claim::commit) takes: `sqlx::Sqlite` (feature `sqlx-sqlite`) or
/// `sqlx::Postgres` (feature `sqlx-postgres`). Not to be implemented elsewhere.
pub trait JournalDatabase: Speak {}

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

/// What is said to a database. Public only since a public function's bound needs it.
pub trait Speak: Database {
    #[doc(hidden)]
    fn is(schema: &Schema) -> bool;

    /// Whether the key was free. Waits for a transaction that has just written it.
    #[doc(hidden)]
    fn insert(
        connection: &mut Self::Connection,
        schema: &Schema,
        values: Values<'_>,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    #[doc(hidden)]
    fn find(
        pool: &Pool<Self>,
        sql: &str,
        key: &[u8],
    ) -> impl Future<Output = Result<Option<Found>, sqlx::Error>> + Send;

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
macro_rules! speak {
    ($database:ident, own = $own:literal, migrate = $migrate:literal, lock = $lock:expr) => {
        impl JournalDatabase for sqlx::$database {}

        impl Speak for sqlx::$database {
            fn is(schema: &Schema) -> bool {
                schema.dialect == Dialect::$database
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

            async fn find(pool: &Pool<Self>, sql: &str, key: &[u8]) -> Result<Option<Found>, sqlx::Error> {
                sqlx::query_as(sql).bind(key).fetch_optional(pool).await
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
speak!(Sqlite, own = "BEGIN IMMEDIATE", migrate = "BEGIN IMMEDIATE", lock = None::<&str>);

// With a snapshot from before the wait, a conflict would be an error and not an answer. The lock's number is any that is
// this crate's own: processes that start together migrate one after the other.
#[cfg(feature = "sqlx-postgres")]
speak!(
    Postgres,
    own = "BEGIN ISOLATION LEVEL READ COMMITTED",
    migrate = "BEGIN",
    lock = Some("SELECT pg_advisory_xact_lock(7233193520741019221)")
);
