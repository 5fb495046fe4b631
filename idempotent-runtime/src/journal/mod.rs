//! Exactly once: the response in the user's own transaction.
//!
//! No cache can promise that a crash between "paid" and "remembered" does no harm. The transaction that pays can: the
//! record of the response is a row in it, under a unique key. Either both are there afterwards or neither, and a second
//! attempt's row cannot be. Claims make that fast and polite; the unique index makes it right.
//!
//! The engine knows a journal by [`Journal`] only; [`SqlJournal`] is the one that there is.

#[cfg(feature = "_sql")]
mod entry;
#[cfg(feature = "_sql")]
mod error;
mod progress;
#[cfg(feature = "_sql")]
pub(crate) mod row;
#[cfg(feature = "_sql")]
mod schema;
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

    /// Whether the journal's rows are the store's own, so that a response that was committed is stored.
    fn is_the_store(&self) -> bool {
        false
    }

    /// How long one question may take.
    fn timeout(&self) -> Duration;

    #[cfg(feature = "_sql")]
    fn schema(&self) -> &Schema;
}

type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unanswered>> + Send + 'a>>;

/// The journal gave no answer, so what it holds is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("the journal did not answer in time")]
    Timeout,
    #[error("the journal cannot be read")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
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
