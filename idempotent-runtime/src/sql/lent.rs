//! [`Lent`]: a connection of the user's pool during one call.

use sqlx::{Database, Pool, pool::PoolConnection};

/// A database whose pool lends connections. It is only public because [`Dialect`](super::database::Dialect) is.
pub trait Lends: Database {
    /// Whether it is another process, which may not answer.
    #[doc(hidden)]
    const HAS_SERVER: bool;
}

#[cfg(feature = "sqlx-sqlite")]
impl Lends for sqlx::Sqlite {
    const HAS_SERVER: bool = false;
}

#[cfg(feature = "sqlx-postgres")]
impl Lends for sqlx::Postgres {
    const HAS_SERVER: bool = true;
}

/// A connection during one call.
///
/// If a call is dropped before its answer, its connection leads to a server that may never answer. sqlx would ask that
/// server whether the connection is still good, and wait for ever. The pool would lose a connection with every such
/// call. So the connection is closed instead.
pub(crate) struct Lent<DB: Lends> {
    connection: Option<PoolConnection<DB>>,
}

impl<DB: Lends> Lent<DB> {
    pub(crate) async fn by(pool: &Pool<DB>) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: Some(pool.acquire().await?) })
    }

    pub(crate) fn connection(&mut self) -> Result<&mut DB::Connection, sqlx::Error> {
        self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Returns the connection to the pool if the server answered and can be used further. Otherwise closes it.
    pub(crate) fn answered<T>(mut self, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
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

impl<DB: Lends> Drop for Lent<DB> {
    fn drop(&mut self) {
        // SQLite has no server that may not answer, and a database in memory ends with its connection.
        if DB::HAS_SERVER {
            drop(self.connection.take().map(PoolConnection::detach));
        }
    }
}
