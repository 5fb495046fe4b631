use axum::http::Method;
use idempotent_runtime::idempotent;

#[idempotent]
async fn create(axum::Json(_body): axum::Json<String>, _method: Method) {}

#[idempotent]
async fn refund(_body: axum::body::Bytes, axum::Json(_again): axum::Json<String>) {}

fn main() {}
