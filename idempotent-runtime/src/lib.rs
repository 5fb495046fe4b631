//! Make axum handlers safe to retry.
