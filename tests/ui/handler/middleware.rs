use axum::{extract::Request, middleware::Next, response::Response};
use idempotent_runtime::idempotent;

#[idempotent]
async fn authenticate(request: Request, next: Next) -> Response {
    next.run(request).await
}

fn main() {}
