//! Exactly once: the response in the user's own transaction.
//!
//! A process can die between the payment and the storing of its response, and no store prevents that. The transaction that
//! pays can: the record of the response is a row in it, under a unique key. Afterwards both are there or neither is, and a
//! second attempt cannot insert another row. The claim avoids wasted work; the unique index guarantees one commit.
//!
//! The engine knows a journal by the trait [`Journal`]. [`SqlJournal`] implements it, and so does `SqlStore`, whose own rows
//! can take the response.

#[cfg(feature = "_sql")]
pub(crate) mod database_error;
#[cfg(feature = "_sql")]
mod entry;
#[cfg(feature = "_sql")]
mod error;
mod progress;
#[cfg(feature = "_sql")]
mod queries;
#[cfg(feature = "_sql")]
mod readiness;
#[cfg(feature = "_sql")]
pub(crate) mod row;
#[cfg(feature = "_sql")]
mod schema;
#[cfg(all(feature = "_sql", feature = "encryption"))]
pub(crate) mod sealed;
#[cfg(feature = "_sql")]
mod sql;
#[cfg(feature = "_sql")]
mod store;

use std::{error::Error, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;

pub(crate) use self::progress::Progress;
#[cfg(feature = "_sql")]
pub use self::{
    entry::{Committed, JournalEntry},
    error::CommitError,
    sql::{JournalError, SqlJournal},
};
#[cfg(feature = "_sql")]
use crate::sql::schema::Schema;
#[cfg(feature = "_sql")]
pub use crate::sql::{database::JournalDatabase, table::TableNameError};
use crate::store::{Attempt, Fingerprint, StoreKey, Token};

/// What the engine asks of a journal. Every answer comes within [`timeout`](Self::timeout).
pub(crate) trait Journal: Send + Sync + 'static {
    /// Whether [`prepare`](Self::prepare) has nothing left to do. Asked for every request, and without a question to the
    /// database.
    fn is_ready(&self) -> bool {
        true
    }

    /// Whether a handler may run. It may not if the journal's table is known not to be there: what it did could not be
    /// recorded.
    fn prepare(&self) -> Answer<'_, bool> {
        Box::pin(std::future::ready(true))
    }

    /// The committed, unexpired row of a key of which the store has said that it knows none.
    fn find<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Row>>;

    /// The committed row that kept a transaction from being committed.
    fn winner<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Row>> {
        self.find(key)
    }

    /// Like [`find`](Self::find), but waits for a transaction that has written the key's row and is neither committed
    /// nor rolled back, as one is whose COMMIT got no answer.
    fn settle<'a>(&'a self, attempt: &'a Attempt) -> Call<'a, Option<Row>>;

    /// Writes a response that has no transaction of its own, unless the key has a row: that is given back then.
    fn seal<'a>(&'a self, attempt: &'a Attempt, fence: u64, record: &'a Bytes) -> Call<'a, Option<Row>>;

    /// What is written into a row for a record.
    #[cfg(feature = "_sql")]
    fn to_row(&self, _: &Attempt, record: &Bytes) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        Ok(record.clone())
    }

    /// What is written into the row of a claim for the steps of its handler.
    #[cfg(feature = "_sql")]
    fn to_steps(&self, _: &Attempt, steps: &Bytes) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        Ok(steps.clone())
    }

    /// The steps in the row of this attempt's claim, when no transaction that has written it is open any more. `None` if
    /// the claim is another attempt's. Only where the journal [is the store](Self::is_the_store).
    #[cfg(feature = "_sql")]
    fn settle_steps<'a>(&'a self, _: &'a Attempt) -> Call<'a, Option<Bytes>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// A row as [`find`](Self::find) gives it back, of one that was read over a connection of the user's.
    #[cfg(feature = "_sql")]
    fn open(&self, _: &StoreKey, row: Row) -> Result<Row, Unanswered> {
        Ok(row)
    }

    /// Whether the journal's rows are the store's own, so that a response that was committed is stored.
    fn is_the_store(&self) -> bool {
        false
    }

    /// How long one question may take.
    fn timeout(&self) -> Duration;

    #[cfg(feature = "_sql")]
    fn schema(&self) -> &Schema;
}

type Call<'a, T> = Answer<'a, Result<T, Unanswered>>;

/// What a question comes to.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the journal holds of a key is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("the journal did not answer in time")]
    Timeout,
    #[error("the journal cannot be read")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// The key has a row, and what it says is not known.
    #[error("the key's row in the journal is damaged, or was written by something else")]
    Unreadable(#[source] Box<dyn Error + Send + Sync>),
}

/// What the journal holds of a key. Public, and out of reach, since the bound of a public function names it.
#[allow(unreachable_pub)]
#[derive(Clone)]
pub struct Row {
    pub(crate) fingerprint: Fingerprint,
    /// Whose transaction it was.
    pub(crate) token: Token,
    pub(crate) record: Bytes,
    /// What is left of its time, by the database's clock.
    pub(crate) left: Duration,
}

impl Row {
    /// The attempt as it has to be for the store to hold what the journal holds.
    pub(crate) fn terms(&self, attempt: &Attempt) -> Attempt {
        Attempt { fingerprint: self.fingerprint, ttl: self.left, ..attempt.clone() }
    }
}
