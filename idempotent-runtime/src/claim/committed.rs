//! The results of a commit: the response, a row to insert, or why nothing was committed.

use std::{error::Error, fmt};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    error_chain::chain,
    problem::{Problem, texts},
    telemetry::limited,
};

/// The result of [`Claim::commit`](crate::Claim::commit). Return it unchanged. A header that is added afterwards is
/// sent once and not replayed.
#[must_use = "return it from the handler: the client must get the response that was committed"]
pub struct Committed {
    pub(crate) response: Response,
    pub(crate) replayed: bool,
}

/// Prints nothing of the response, because it belongs to the client.
impl fmt::Debug for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committed").field("replayed", &self.replayed).finish_non_exhaustive()
    }
}

impl Committed {
    /// Whether this transaction was rolled back because an earlier attempt had committed. The response is that
    /// attempt's.
    ///
    /// A mail that is sent after the commit is lost when the process dies in between, since the retry is a replay. Write
    /// it as a row of an outbox in the same transaction, or send it before, as a [`step`](crate::Claim::step).
    #[must_use]
    pub fn replayed(&self) -> bool {
        self.replayed
    }
}

impl IntoResponse for Committed {
    fn into_response(self) -> Response {
        self.response
    }
}

impl From<Committed> for Response {
    fn from(committed: Committed) -> Self {
        committed.response
    }
}

/// The row of a commit as plain fields, for those who do not write it by sqlx.
///
/// The fields are the parameters of [`SqlStore::commit_statement`](crate::SqlStore::commit_statement), in order.
/// `Debug` prints none of them.
#[non_exhaustive]
pub struct CommitEntry {
    /// SHA-256 of the key's name in the store.
    pub key: Vec<u8>,
    /// The fingerprint of the request.
    pub fingerprint: Vec<u8>,
    /// The token of the attempt. It is a secret until the claim has ended.
    pub token: Vec<u8>,
    /// The fencing token of the attempt.
    pub fence: i64,
    /// The encoded response.
    pub record: Vec<u8>,
    /// How long the row is kept, in milliseconds.
    pub ttl_millis: i64,
}

impl fmt::Debug for CommitEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitEntry").finish_non_exhaustive()
    }
}

/// Why a transaction was not committed, or why it is unknown whether it was.
///
/// Turn it into a response with `into_response`, as the example at [`Claim::commit`](crate::Claim::commit) does. The
/// engine asks the database again before it answers. If a response was committed, the client gets that response,
/// and not what the handler returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The service has no database to commit to. Nothing was committed.
    #[error("the service has no database to commit to; set one with Idempotency::builder(…).commit_to(…)")]
    NoDatabase,
    /// The transaction belongs to another kind of database than the service's. Nothing was committed.
    #[error("the transaction belongs to another kind of database than the one that the service commits to")]
    OtherDatabase,
    /// The transaction is a savepoint: it was begun inside another transaction, which may still be rolled back. Nothing
    /// was committed, and the outer transaction is unchanged.
    #[error(
        "the transaction is a savepoint, and ending it commits nothing: give the outermost transaction to the claim, the \
         one that was begun on a pool or a connection"
    )]
    Savepoint,
    /// This attempt has already committed. Nothing was committed now.
    #[error("this attempt has already committed; put everything that belongs together into one transaction")]
    Twice,
    /// The handler has already answered, so its response is stored or its key is free. A task that outlives its handler
    /// cannot commit for it. Nothing was committed.
    #[error("the handler has already returned: commit before it returns, and not in a task that outlives it")]
    Ended,
    /// The key was used for another request. Nothing was committed. The client gets 422 `key-reused`.
    #[error("the key was used for another request")]
    KeyReused,
    /// Another attempt is running with the key, or an operator has made the store forget the key, so the row in
    /// `SqlStore` no longer belongs to this attempt. Nothing was committed.
    #[error("this attempt no longer has the key; nothing was committed")]
    Lost,
    /// The key has a row that cannot be read. Nothing was committed; the client gets 500 `record-unreadable`.
    #[error("the key's row cannot be read; nothing was committed")]
    Unreadable(#[source] Box<dyn Error + Send + Sync>),
    /// The response's body failed, or its record cannot be made: a value is no JSON, or cannot be encrypted. Nothing was
    /// committed.
    #[error("the response cannot be recorded")]
    Response(#[source] Option<Box<dyn Error + Send + Sync>>),
    /// The database refused. Nothing was committed, and the transaction is over. The work may be tried again in a new
    /// transaction.
    ///
    /// An error of a handler's own statements becomes this too, by `?`.
    #[error("the database refused the transaction{}", advice(.0))]
    Database(#[from] sqlx::Error),
    /// The record was not inserted in time. Nothing was committed.
    #[error("the database did not answer in time; nothing was committed")]
    Timeout,
    /// COMMIT was sent, and it is unknown whether it took effect. The client gets 503 `journal-unavailable`. Its retry
    /// gets the stored response, or runs if nothing was committed.
    #[error("it is unknown whether the transaction was committed")]
    Unknown(#[source] Box<dyn Error + Send + Sync>),
}

impl CommitError {
    /// The problem for the client: 422 `key-reused`, 500 `record-unreadable`, or 503 `journal-unavailable` if a retry
    /// may help. `None` for a mistake in the program.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        match self {
            Self::KeyReused => Some(texts::key_reused(false)),
            Self::Unreadable(_) => Some(texts::record_unreadable()),
            Self::Lost | Self::Database(_) | Self::Timeout | Self::Unknown(_) => Some(texts::journal_unavailable()),
            Self::NoDatabase
            | Self::OtherDatabase
            | Self::Savepoint
            | Self::Twice
            | Self::Ended
            | Self::Response(_) => None,
        }
    }
}

/// What to do about an error whose text does not say it.
fn advice(error: &sqlx::Error) -> &'static str {
    match code(error).as_deref() {
        // SQLITE_BUSY and SQLITE_BUSY_SNAPSHOT.
        Some("5" | "517") => {
            "; a transaction of SQLite that reads before it writes has to begin with BEGIN IMMEDIATE: \
             pool.begin_with(\"BEGIN IMMEDIATE\")"
        }
        _ => "",
    }
}

/// Whether another transaction was faster. The same request, or a retry of it, may have committed.
fn is_conflict(error: &sqlx::Error) -> bool {
    let unique = error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation);
    // Serialization failure, deadlock, and a snapshot of SQLite that is too old.
    unique || matches!(code(error).as_deref(), Some("40001" | "40P01" | "517"))
}

fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// The response is [`problem`](CommitError::problem), or 500 without a body. In a protected handler it has the service's
/// own form, as every problem. It contains nothing of the database's error, which is logged. A reused key is the
/// client's mistake and is not logged.
impl IntoResponse for CommitError {
    fn into_response(self) -> Response {
        match &self {
            Self::KeyReused => {}
            Self::Database(error) if is_conflict(error) => {
                limited!(COMMIT_REFUSED, error = %chain(&self));
            }
            Self::Lost | Self::Timeout => limited!(COMMIT_REFUSED, error = %chain(&self)),
            _ => limited!(COMMIT_FAILED, error = %chain(&self)),
        }
        let Some(problem) = self.problem() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        let mut response = problem.clone().into_response();
        response.extensions_mut().insert(problem);
        response
    }
}
