use axum::{Json, http::Method};
use idempotent_runtime::idempotent;

#[idempotent]
async fn create(Json(_body): Json<String>, _method: Method) {}

#[idempotent]
async fn refund(_body: axum::body::Bytes, Json(_again): Json<String>) {}

fn main() {}
