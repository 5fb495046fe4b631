//! Why an effect did not come about, and what the client is told.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use idempotent_runtime::StepError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum EffectError {
    #[error("a service did not do it")]
    Service(#[from] reqwest::Error),
    #[error("a service speaks another JSON")]
    Json(#[from] serde_json::Error),
    #[error("the database did not do it")]
    Database(#[from] sqlx::Error),
}

/// Every answer of this kind is a 5xx, which keeps the steps that are saved: the client's retry goes on from there.
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
