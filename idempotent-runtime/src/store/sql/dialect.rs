//! The databases that may hold the table, and the calls that the code makes to each.

use std::future::Future;

use bytes::Bytes;
use sqlx::{Connection, Database, Executor as _, Pool, TransactionManager, pool::PoolConnection};

use super::{
    row::{self, Columns, digest},
    schema::Schema,
};
use crate::protocol::{Change, ClaimRequest, Seen, StoreKey};

/// A database whose transactions [`Claim::commit`](crate::Claim::commit) accepts: `sqlx::Sqlite` (feature
/// `sqlx-sqlite`) or `sqlx::Postgres` (feature `sqlx-postgres`). It cannot be implemented outside this crate.
pub trait CommitDatabase: Dialect {}

/// A parameter of a statement.
#[allow(unreachable_pub)] // as `Dialect`
#[derive(Clone)]
pub enum Parameter<'a> {
    Number(i64),
    Bytes(Bytes),
    Slice(&'a [u8]),
    /// NULL, for bytes or for a number.
    NoBytes,
    NoNumber,
}

/// The longest time, in milliseconds. A database can still add it to a date.
pub(super) const LONGEST: i64 = 100_000_000_000_000;

/// The calls to a database, because sqlx's types differ between databases. It is only public because the bound of a
/// public function names it.
pub trait Dialect: Database {
    /// Whether it is another process, which may not answer.
    #[doc(hidden)]
    const HAS_SERVER: bool;

    /// Begins a transaction of our own.
    #[doc(hidden)]
    const BEGIN: &'static str;

    /// Makes processes that start at the same time migrate one after the other.
    #[doc(hidden)]
    const LOCK: Option<&'static str>;

    #[doc(hidden)]
    fn is(schema: &Schema) -> bool;

    /// Runs statements without parameters.
    #[doc(hidden)]
    fn run(connection: &mut Self::Connection, sql: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Runs a statement. Returns how many rows it changed.
    #[doc(hidden)]
    fn change(
        connection: &mut Self::Connection,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

    /// Runs a statement that returns one number.
    #[doc(hidden)]
    fn number(connection: &mut Self::Connection, sql: &str) -> impl Future<Output = Result<i64, sqlx::Error>> + Send;

    /// Runs a statement that returns one row at most. All of its rows are fetched, because SQLite ends a statement only
    /// then.
    #[doc(hidden)]
    fn row(
        connection: &mut Self::Connection,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> impl Future<Output = Result<Option<Columns>, sqlx::Error>> + Send;
}

/// Writes the response of an attempt. Returns whether the key was free. Waits for an open transaction that has written
/// the same key.
pub(crate) async fn insert<DB: Dialect>(
    connection: &mut DB::Connection,
    schema: &Schema,
    claim: &ClaimRequest,
    fence: u64,
    record: &[u8],
) -> Result<bool, sqlx::Error> {
    let (key, fingerprint, token) = (digest(&claim.key), claim.fingerprint.as_bytes(), claim.token.as_bytes());
    let [key, fingerprint, token, record] = [&key[..], fingerprint, token, record].map(Parameter::Slice);
    let [fence, ttl] = [number(fence), ttl_millis(claim)].map(Parameter::Number);
    let values = [key, fingerprint, token, fence, record, ttl];
    Ok(DB::change(connection, &schema.commit, &values).await? == 1)
}

pub(crate) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How long the response of an attempt is kept.
pub(crate) fn ttl_millis(claim: &ClaimRequest) -> i64 {
    i64::try_from(claim.ttl.as_millis()).unwrap_or(i64::MAX).min(LONGEST)
}

/// What [`Schema::read`] or [`Schema::settle`] finds under a key.
pub(crate) async fn seen<DB: Dialect>(
    connection: &mut DB::Connection,
    sql: &str,
    key: &StoreKey,
) -> Result<Seen, sqlx::Error> {
    Ok(row::seen(DB::row(connection, sql, &[Parameter::Slice(&digest(key))]).await?))
}

/// Runs [`Schema::save_steps`]. Returns whether this attempt still had the claim.
pub(crate) async fn save_steps<DB: Dialect>(
    connection: &mut DB::Connection,
    schema: &Schema,
    claim: &ClaimRequest,
    steps: &[u8],
    change: Change,
) -> Result<bool, sqlx::Error> {
    let key = digest(&claim.key);
    let [key, token, steps] = [&key, &claim.token.as_bytes()[..], steps].map(Parameter::Slice);
    let change = Parameter::Number(number(change.number()));
    Ok(DB::change(connection, &schema.save_steps, &[key, token, steps, change]).await? == 1)
}

/// Whether the innermost transaction of the connection is a savepoint.
pub(crate) async fn in_savepoint<DB: Dialect>(connection: &mut DB::Connection) -> Result<bool, sqlx::Error> {
    if DB::TransactionManager::get_transaction_depth(connection) < 2 {
        return Ok(false);
    }
    // sqlx rolls back a dropped savepoint before it sends the next command. This is that command.
    connection.ping().await?;
    Ok(DB::TransactionManager::get_transaction_depth(connection) > 1)
}

/// COMMIT. It keeps the connection, which [`sqlx::Transaction::commit`] does not.
pub(crate) async fn commit<DB: Dialect>(connection: &mut DB::Connection) -> Result<(), sqlx::Error> {
    DB::TransactionManager::commit(connection).await
}

/// ROLLBACK. It keeps the connection, which [`sqlx::Transaction::rollback`] does not.
pub(crate) async fn roll_back<DB: Dialect>(connection: &mut DB::Connection) -> Result<(), sqlx::Error> {
    DB::TransactionManager::rollback(connection).await
}

/// The code is the same for both databases, but sqlx's types for arguments and rows differ.
macro_rules! dialect {
    ($database:ident, has_server = $has_server:literal, begin = $begin:literal, lock = $lock:expr) => {
        impl CommitDatabase for sqlx::$database {}

        impl Dialect for sqlx::$database {
            const HAS_SERVER: bool = $has_server;
            const BEGIN: &'static str = $begin;
            const LOCK: Option<&'static str> = $lock;

            fn is(schema: &Schema) -> bool {
                schema.kind == super::statements::DatabaseKind::$database
            }

            async fn run(connection: &mut Self::Connection, sql: &str) -> Result<(), sqlx::Error> {
                connection.execute(sql).await.map(drop)
            }

            async fn change(
                connection: &mut Self::Connection,
                sql: &str,
                parameters: &[Parameter<'_>],
            ) -> Result<u64, sqlx::Error> {
                Ok(dialect!(sqlx::query(sql), parameters).execute(connection).await?.rows_affected())
            }

            async fn number(connection: &mut Self::Connection, sql: &str) -> Result<i64, sqlx::Error> {
                sqlx::query_scalar(sql).fetch_one(connection).await
            }

            async fn row(
                connection: &mut Self::Connection,
                sql: &str,
                parameters: &[Parameter<'_>],
            ) -> Result<Option<Columns>, sqlx::Error> {
                let rows = dialect!(sqlx::query_as(sql), parameters).fetch_all(connection).await?;
                Ok(rows.into_iter().next())
            }
        }
    };
    ($query:expr, $parameters:ident) => {
        $parameters.iter().fold($query, |query, parameter| match parameter {
            Parameter::Number(number) => query.bind(*number),
            Parameter::Bytes(bytes) => query.bind(&bytes[..]),
            Parameter::Slice(bytes) => query.bind(*bytes),
            Parameter::NoBytes => query.bind(None::<&[u8]>),
            Parameter::NoNumber => query.bind(None::<i64>),
        })
    };
}

#[cfg(feature = "sqlx-sqlite")]
dialect!(Sqlite, has_server = false, begin = "BEGIN IMMEDIATE", lock = None);

// READ COMMITTED, and not the database's default: at a higher level, waiting for another transaction would end in an
// error instead of a row, and a migration would not see what the one before it has made. The lock's number is arbitrary
// and used for nothing else.
#[cfg(feature = "sqlx-postgres")]
dialect!(
    Postgres,
    has_server = true,
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED",
    lock = Some("SELECT pg_advisory_xact_lock(7233193520741019221)")
);

/// A connection of the user's pool during one call.
///
/// If a call is dropped before its answer, its connection leads to a server that may never answer. sqlx would ask that
/// server whether the connection is still good, and wait for ever. The pool would lose a connection with every such
/// call. So the connection is closed instead.
pub(super) struct Lent<DB: Dialect> {
    connection: Option<PoolConnection<DB>>,
}

impl<DB: Dialect> Lent<DB> {
    pub(super) async fn by(pool: &Pool<DB>) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: Some(pool.acquire().await?) })
    }

    pub(super) fn connection(&mut self) -> Result<&mut DB::Connection, sqlx::Error> {
        self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    pub(super) async fn row(mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Option<Columns>, sqlx::Error> {
        let row = DB::row(self.connection()?, sql, parameters).await;
        self.answered(row)
    }

    pub(super) async fn number(mut self, sql: &str) -> Result<i64, sqlx::Error> {
        let number = DB::number(self.connection()?, sql).await;
        self.answered(number)
    }

    pub(super) async fn change(mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, sqlx::Error> {
        let changed = DB::change(self.connection()?, sql, parameters).await;
        self.answered(changed)
    }

    /// Returns the connection to the pool if the server answered and can be used further. Otherwise closes it.
    pub(super) fn answered<T>(mut self, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let good = match &answer {
            Ok(_) => true,
            Err(sqlx::Error::Database(refused)) => refused.code().as_deref() != Some(READ_ONLY),
            Err(_) => false,
        };
        if good {
            drop(self.connection.take());
        }
        answer
    }
}

/// After a failover, the connections of a pool lead to the old server, which only reads. A new connection looks the
/// server's name up again.
const READ_ONLY: &str = "25006";

impl<DB: Dialect> Drop for Lent<DB> {
    fn drop(&mut self) {
        // SQLite has no server that may not answer, and a database in memory ends with its connection.
        if DB::HAS_SERVER {
            drop(self.connection.take().map(PoolConnection::detach));
        }
    }
}
