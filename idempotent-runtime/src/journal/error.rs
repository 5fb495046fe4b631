//! [`CommitError`]: why a transaction was not committed.

use std::error::Error;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    error_chain::chain,
    http::response::{problem::Problem, problem_texts},
    telemetry::limited,
};

/// Why a transaction was not committed, or why it is unknown whether it was.
///
/// Turn it into a response with `into_response`, as the example at [`Claim::commit`](crate::Claim::commit) does. The
/// engine reads the journal again before it answers. If a row was committed, the client gets that row's response,
/// whatever the handler returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The service has no journal. Nothing was committed.
    #[error("the service has no journal; set one with Idempotency::builder(…).journal(…)")]
    NoJournal,
    /// The transaction belongs to another kind of database than the journal. Nothing was committed.
    #[error("the transaction belongs to another kind of database than the journal")]
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
    /// The key has a row in the journal that cannot be read. Nothing was committed; the client gets 500
    /// `record-unreadable`.
    #[error("the key's row in the journal cannot be read; nothing was committed")]
    Unreadable(#[source] Box<dyn Error + Send + Sync>),
    /// The response's body failed or cannot be encoded. Nothing was committed.
    #[error("the response cannot be recorded")]
    Response(#[source] Option<Box<dyn Error + Send + Sync>>),
    /// The database refused. Nothing was committed. The same transaction may be tried again.
    #[error("the database refused the transaction")]
    Database(#[source] sqlx::Error),
    /// The record was not inserted in time. Nothing was committed.
    #[error("the journal did not answer in time; nothing was committed")]
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
            Self::KeyReused => Some(problem_texts::key_reused(false)),
            Self::Unreadable(_) => Some(problem_texts::record_unreadable()),
            Self::Lost | Self::Database(_) | Self::Timeout | Self::Unknown(_) => {
                Some(problem_texts::journal_unavailable())
            }
            Self::NoJournal | Self::OtherDatabase | Self::Savepoint | Self::Twice | Self::Ended | Self::Response(_) => {
                None
            }
        }
    }
}

/// The response is [`problem`](CommitError::problem), or 500 without a body. It contains nothing of the database's
/// error, which is logged. A reused key is the client's mistake and is not logged.
impl IntoResponse for CommitError {
    fn into_response(self) -> Response {
        match &self {
            Self::KeyReused => {}
            Self::Lost | Self::Timeout => limited!(warn, error = %chain(&self), "a transaction was not committed"),
            _ => limited!(error, error = %chain(&self), "a transaction was not committed"),
        }
        match self.problem() {
            Some(problem) => problem.into_response(),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
