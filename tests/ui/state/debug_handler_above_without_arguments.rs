use axum::debug_handler;
use idempotent_runtime::idempotent;

#[debug_handler]
#[idempotent]
async fn create() {}

fn main() {}
