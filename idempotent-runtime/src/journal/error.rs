//! Why a transaction was not committed.

use std::error::Error;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::error_chain::chain;

/// Why a transaction was not committed, or why that is not known.
///
/// Whatever a handler makes of it, the client's answer is right: the engine looks into the journal once more before it
/// answers, and a row that is there wins.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The service has no journal. Nothing was committed.
    #[error("there is no journal; give one to Idempotency::builder(…).journal(…)")]
    NoJournal,
    /// The transaction is of another kind of database than the journal. Nothing was committed.
    #[error("the transaction is of another kind of database than the journal")]
    OtherDatabase,
    /// This attempt has committed before. Nothing was committed now.
    #[error("this attempt has committed already; everything that belongs together goes into one transaction")]
    Twice,
    /// The key belongs to another request. Nothing was committed; the client gets 422 `key-reused`.
    #[error("the key belongs to another request")]
    KeyReused,
    /// Another attempt has the key and is running, or an operator has forgotten it, so that the claim's row in `SqlStore` is
    /// no longer this attempt's. Nothing was committed.
    #[error("the key is no longer this attempt's; nothing was committed")]
    Lost,
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

/// For handlers without an error type of their own: 500, or 503 where a retry may help. Says nothing of the database.
impl IntoResponse for CommitError {
    fn into_response(self) -> Response {
        tracing::error!(error = %chain(&self), "a transaction was not committed");
        match self {
            Self::Timeout | Self::Unknown(_) | Self::Database(_) | Self::Lost => {
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
