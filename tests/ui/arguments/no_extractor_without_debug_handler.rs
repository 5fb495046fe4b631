use axum::{Router, extract::{FromRef, State}, routing::post};
use idempotent_runtime::{Idempotency, idempotent};

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
}

struct Payment;

#[idempotent]
async fn create(State(_app): State<App>, _payment: Payment) {}

fn main() {
    let _: Router<App> = Router::new().route("/", post(create));
}
