use axum::{debug_handler, extract::State};
use idempotent_runtime::idempotent;

#[derive(Clone)]
struct App;

#[idempotent]
#[debug_handler]
async fn create(State(_app): State<App>, _body: String) {}

#[idempotent]
#[axum::debug_handler(state = App)]
async fn refund() {}

fn main() {}
