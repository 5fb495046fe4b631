//! Exactly once: stores the response within the handler's own transaction.
//!
//! A process can die after the payment and before its response is stored. No separate store can prevent that. The
//! transaction that pays can: the response is a row in it, under a unique key. After a crash the database has both or
//! neither, and a second attempt cannot insert another row. The claim avoids wasted work; the unique index guarantees
//! one commit.
//!
//! The engine uses a journal by the trait `Journal`. `CommitTable` implements it over the table of a `SqlStore`, with or
//! without the claims in it.

#[cfg(feature = "_sql")]
mod readiness;
#[cfg(feature = "_sql")]
mod table;

use std::{error::Error, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;

#[cfg(feature = "_sql")]
pub(crate) use self::table::CommitTable;
#[cfg(all(feature = "_sql", feature = "encryption"))]
use crate::store::sealing::EncryptionKeys;
#[cfg(feature = "_sql")]
use crate::store::sql::Schema;
use crate::store::{ClaimRequest, Fingerprint, Head, Seen, State, StoreKey, Token};

/// What the engine asks of a journal. Every answer comes within [`timeout`](Self::timeout).
pub(crate) trait Journal: Send + Sync + 'static {
    /// Whether [`prepare`](Self::prepare) has nothing left to do. It is called for every request and does not ask the
    /// database.
    fn is_ready(&self) -> bool;

    /// Whether a handler may run. It may not if the journal's table is known to be missing, because its effects could
    /// not be recorded.
    fn prepare(&self) -> Answer<'_, bool>;

    /// The committed, unexpired row of a key that the store does not know.
    fn find<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Row>>;

    /// The committed row that prevented a transaction from committing.
    fn existing_row<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Row>>;

    /// Like [`find`](Self::find), but waits for an open transaction that has written the key's row. Its COMMIT may have
    /// got no answer.
    fn settle<'a>(&'a self, attempt: &'a ClaimRequest) -> Call<'a, Option<Row>>;

    /// Writes a response in its own transaction. If the key already has a row, returns that row instead.
    fn write_row<'a>(&'a self, attempt: &'a ClaimRequest, fence: u64, record: &'a Bytes) -> Call<'a, Option<Row>>;

    /// The bytes that a row holds for a record.
    fn to_row(&self, _: &ClaimRequest, record: &Bytes) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        Ok(record.clone())
    }

    /// The bytes that the row of a claim holds for the steps of its handler.
    fn to_steps(&self, _: &ClaimRequest, steps: &Bytes) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        Ok(steps.clone())
    }

    /// The steps in the row of this attempt's claim. Waits until no open transaction has written the row. `None` if
    /// another attempt has the claim. Only used if the journal [is the store](Self::is_the_store).
    fn settle_steps<'a>(&'a self, attempt: &'a ClaimRequest) -> Call<'a, Option<Bytes>>;

    /// Decrypts the steps of a row that was read over a user's connection.
    fn open_steps(&self, _: &ClaimRequest, steps: Bytes) -> Result<Bytes, Unanswered> {
        Ok(steps)
    }

    /// Decrypts a row that was read over a user's connection. The rows of the other functions are decrypted.
    fn open(&self, _: &StoreKey, row: Row) -> Result<Row, Unanswered> {
        Ok(row)
    }

    /// Whether the journal's rows are the store's own. A committed response is then already stored.
    fn is_the_store(&self) -> bool;

    /// The time limit of one question.
    fn timeout(&self) -> Duration;

    #[cfg(feature = "_sql")]
    fn schema(&self) -> &Schema;

    /// From now on, encrypts what a row holds.
    #[cfg(all(feature = "_sql", feature = "encryption"))]
    fn encrypt(&mut self, keys: EncryptionKeys);
}

type Call<'a, T> = Answer<'a, Result<T, Unanswered>>;

/// The future of an answer.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why it is unknown what the journal has for a key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("the journal did not answer in time")]
    Timeout,
    #[error("the journal cannot be read")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// The key has a row that cannot be read.
    #[error("the key's row in the journal is damaged, or was written by something else")]
    Unreadable(#[source] Box<dyn Error + Send + Sync>),
}

#[cfg(feature = "_sql")]
impl From<sqlx::Error> for Unanswered {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) = error {
            return Self::Unreadable(error.into());
        }
        match TableError::from_database(error) {
            Ok(error) => Self::Failed(error.into()),
            Err(error) => Self::Failed(error.into()),
        }
    }
}

/// The table cannot be used until an operator has repaired it.
#[cfg(feature = "_sql")]
#[derive(Debug, thiserror::Error)]
enum TableError {
    #[error(
        "the table for commits is missing or has another layout: run `SqlStore::migrate` when the service starts, or the \
         text of `SqlStore::schema`"
    )]
    Missing(#[source] sqlx::Error),
    #[error(
        "the database's role may not use the table for commits: GRANT SELECT, INSERT, UPDATE, DELETE on it and USAGE on its \
         schema"
    )]
    Forbidden(#[source] sqlx::Error),
}

#[cfg(feature = "_sql")]
impl TableError {
    /// Returns the error itself if it does not concern the table.
    fn from_database(error: sqlx::Error) -> Result<Self, sqlx::Error> {
        match error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() {
            // No such table, schema or column. SQLite uses code 1 for this and for other errors.
            Some("42P01" | "3F000" | "42703" | "1") => Ok(Self::Missing(error)),
            // Postgres: not permitted.
            Some("42501") => Ok(Self::Forbidden(error)),
            _ => Err(error),
        }
    }
}

/// A row of the journal. It is only public because the bound of a public function names it, and cannot be made outside
/// this crate.
#[allow(unreachable_pub)]
#[derive(Clone)]
pub struct Row {
    pub(crate) fingerprint: Fingerprint,
    /// The token of the attempt that committed it.
    pub(crate) token: Token,
    pub(crate) record: Bytes,
    /// The time until it expires, by the database's clock.
    pub(crate) left: Duration,
}

impl Row {
    /// The row that the table has under a key, if it is a committed response.
    pub(crate) fn committed(seen: Seen) -> Result<Option<Self>, Unanswered> {
        match seen {
            Seen::Record { head: Head { token, fingerprint, state: State::Done, .. }, body, left } => {
                let (record, left) = (body.unwrap_or_default(), left.unwrap_or_default());
                // No record is empty.
                if record.is_empty() {
                    return Err(Unanswered::Unreadable("a row for a response has none".into()));
                }
                Ok(Some(Self { fingerprint, token, record, left }))
            }
            Seen::Unreadable => {
                Err(Unanswered::Unreadable("a row was changed by something else than this library".into()))
            }
            Seen::Absent | Seen::Record { .. } => Ok(None),
        }
    }

    /// The attempt to store this row's response under, so that the store has the same as the journal.
    pub(crate) fn terms(&self, attempt: &ClaimRequest) -> ClaimRequest {
        ClaimRequest { fingerprint: self.fingerprint, ttl: self.left, ..attempt.clone() }
    }
}

/// What an attempt has written to the journal.
#[derive(Clone, Default)]
pub(crate) enum JournalWrite {
    /// Nothing was written, or nothing of it was committed.
    #[default]
    None,
    /// A row was written, and it is not known here whether it was committed.
    Unknown,
    /// This row is committed. It is the attempt's own, or one of an earlier attempt.
    Committed(Row),
}
