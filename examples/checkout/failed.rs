//! Why an effect failed, and what the client gets.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use idempotent_runtime::StepError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum EffectError {
    #[error("a request to another service failed")]
    Service(#[from] reqwest::Error),
    #[error("another service sent JSON that cannot be read, or the request cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// The answer to a client whose checkout failed. It is a 5xx, so the saved steps are kept, and a retry goes on after them.
pub(crate) struct Failed(StepError<EffectError>);

impl From<StepError<EffectError>> for Failed {
    fn from(error: StepError<EffectError>) -> Self {
        Self(error)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self(StepError::Failed(error.into()))
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        eprintln!("a checkout failed: {:?}", self.0);
        match self.0 {
            StepError::Failed(_) => (StatusCode::BAD_GATEWAY, "not done yet; try again\n"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "not done by this attempt; try again\n"),
        }
        .into_response()
    }
}
