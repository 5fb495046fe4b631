use axum::{http::StatusCode, response::Sse};
use idempotent_runtime::idempotent;

struct Pending;

#[idempotent]
async fn follow() -> Sse<Pending> {
    todo!()
}

#[idempotent]
async fn maybe_follow() -> Result<Sse<Pending>, StatusCode> {
    todo!()
}

fn main() {}
