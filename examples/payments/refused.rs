//! The error response of the handlers.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use idempotent_runtime::CommitError;
use serde::Serialize;
use utoipa::ToSchema;

/// The body of an error response.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reason {
    error: &'static str,
}

/// An error: the status, and the reason for the client.
pub(crate) struct Refused(pub(crate) StatusCode, pub(crate) &'static str);

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        eprintln!("the ledger failed: {error}");
        Self(StatusCode::INTERNAL_SERVER_ERROR, "the ledger is not available")
    }
}

impl From<CommitError> for Refused {
    fn from(error: CommitError) -> Self {
        eprintln!("a commit failed: {error}");
        Self(StatusCode::INTERNAL_SERVER_ERROR, "the ledger is not available")
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        (status, Json(Reason { error })).into_response()
    }
}
