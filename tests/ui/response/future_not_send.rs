use std::rc::Rc;

use axum::http::Method;
use idempotent_runtime::idempotent;

#[idempotent]
async fn create(_method: Method, body: String) -> String {
    let shared = Rc::new(body);
    tokio::task::yield_now().await;
    shared.to_string()
}

#[idempotent]
async fn refund(body: String) -> String {
    let shared = Rc::new(body);
    tokio::task::yield_now().await;
    shared.to_string()
}

#[idempotent]
async fn tick() {
    let shared = Rc::new(());
    tokio::task::yield_now().await;
    drop(shared);
}

fn main() {}
