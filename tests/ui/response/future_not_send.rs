use std::rc::Rc;

use axum::debug_handler;
use idempotent_runtime::{Idempotency, idempotent};

#[idempotent]
#[debug_handler]
async fn create(body: String) -> String {
    let shared = Rc::new(body);
    tokio::task::yield_now().await;
    shared.to_string()
}

// As with axum itself, the router says less.
#[idempotent]
async fn tick() {
    let shared = Rc::new(());
    tokio::task::yield_now().await;
    drop(shared);
}

fn main() {
    let _: axum::Router<Idempotency> = axum::Router::new().route("/", axum::routing::post(tick));
}
