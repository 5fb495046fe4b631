use axum::Extension;
use idempotent_runtime::idempotent;

#[derive(Clone)]
struct Order;

#[idempotent(fingerprint = order)]
async fn create(Extension(order): Extension<Order>) {}

fn main() {}
