use axum::{debug_handler, extract::State};
use idempotent_runtime::idempotent;

#[idempotent]
#[debug_handler]
async fn create(State(_name): State<String>, State(_port): State<u16>, _body: String) {}

fn main() {}
