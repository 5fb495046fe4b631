use axum::http::Method;
use idempotent_runtime::idempotent;

#[idempotent]
async fn create(#[cfg(unix)] _method: Method, _body: String) {}

fn main() {}
