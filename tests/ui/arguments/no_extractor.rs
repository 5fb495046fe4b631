use axum::{Json, debug_handler, extract::{FromRef, State}};
use idempotent_runtime::{Idempotency, idempotent};

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
}

struct Payment;

#[idempotent]
#[debug_handler]
async fn create(State(_app): State<App>, _payment: Payment) {}

#[idempotent]
#[debug_handler]
async fn refund(State(_app): State<App>, _payment: Payment, _body: Json<String>) {}

fn main() {}
