use axum::http::{Method, StatusCode};
use idempotent_runtime::idempotent;

struct Payment;

#[idempotent]
async fn create(_body: String) -> Payment {
    Payment
}

#[idempotent]
async fn refund() -> Result<Payment, StatusCode> {
    Err(StatusCode::NOT_FOUND)
}

#[idempotent]
async fn cancel(_method: Method, _body: String) -> (StatusCode, Payment) {
    (StatusCode::OK, Payment)
}

fn main() {}
