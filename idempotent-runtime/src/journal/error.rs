//! Why a transaction was not committed.

use std::error::Error;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    error_chain::chain,
    response::{problem::Problem, problem_texts},
};

/// Why a transaction was not committed, or why that is not known.
///
/// Answer it with its own response, as the example at [`Claim::commit`](crate::Claim::commit) does. Whatever a handler
/// answers, the client is told the truth: the engine looks into the journal once more before it answers, and a row that is
/// there wins.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The service has no journal. Nothing was committed.
    #[error("there is no journal; give one to Idempotency::builder(…).journal(…)")]
    NoJournal,
    /// The transaction is of another kind of database than the journal. Nothing was committed.
    #[error("the transaction is of another kind of database than the journal")]
    OtherDatabase,
    /// The transaction is a savepoint: it was begun inside another one, which may still be rolled back. Nothing was
    /// committed, and the outer transaction is as it was.
    #[error(
        "the transaction is a savepoint, and ending it commits nothing: give the outermost transaction to the claim, the \
         one that was begun on a pool or a connection"
    )]
    Savepoint,
    /// This attempt has committed before. Nothing was committed now.
    #[error("this attempt has committed already; everything that belongs together goes into one transaction")]
    Twice,
    /// The handler has answered already, so its response is stored or its key given up: a task that outlives its handler
    /// cannot commit for it. Nothing was committed.
    #[error("the attempt has ended: commit before the handler returns, and not in a task that outlives it")]
    Ended,
    /// The key belongs to another request. Nothing was committed; the client gets 422 `key-reused`.
    #[error("the key belongs to another request")]
    KeyReused,
    /// Another attempt has the key and is running, or an operator has forgotten it, so that the claim's row in `SqlStore` is
    /// no longer this attempt's. Nothing was committed.
    #[error("the key is no longer this attempt's; nothing was committed")]
    Lost,
    /// The key has a row in the journal that cannot be read. Nothing was committed; the client gets 500
    /// `record-unreadable`.
    #[error("the key's row in the journal cannot be read; nothing was committed")]
    Unreadable(#[source] Box<dyn Error + Send + Sync>),
    /// The response's body broke off or cannot be encoded. Nothing was committed.
    #[error("the response cannot be recorded")]
    Response(#[source] Option<Box<dyn Error + Send + Sync>>),
    /// The database refused. Nothing was committed, and the same transaction may be tried again.
    #[error("the database refused the transaction")]
    Database(#[source] sqlx::Error),
    /// The record was not inserted in time. Nothing was committed.
    #[error("the journal did not answer in time; nothing was committed")]
    Timeout,
    /// COMMIT was sent, and neither its outcome came back nor could it be found out. The client gets 503
    /// `journal-unavailable`, and its retry finds out.
    #[error("whether the transaction was committed is unknown")]
    Unknown(#[source] Box<dyn Error + Send + Sync>),
}

impl CommitError {
    /// What the client is told: 422 `key-reused`, 500 `record-unreadable`, or 503 `journal-unavailable` where a retry may
    /// help. `None` for a mistake in the program.
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

/// [`problem`](CommitError::problem), or 500 without a body. Says nothing of the database; that stands in the log. A reused
/// key is the client's mistake and is not logged.
impl IntoResponse for CommitError {
    fn into_response(self) -> Response {
        match &self {
            Self::KeyReused => {}
            Self::Lost | Self::Timeout => tracing::warn!(error = %chain(&self), "a transaction was not committed"),
            _ => tracing::error!(error = %chain(&self), "a transaction was not committed"),
        }
        match self.problem() {
            Some(problem) => problem.into_response(),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
