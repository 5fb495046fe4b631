//! A protected handler in one page: `cargo run --example quickstart`.

use axum::{
    Json, Router,
    extract::{FromRef, State},
    http::StatusCode,
    routing::post,
};
use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
use tokio::net::TcpListener;

#[derive(Clone)]
struct App {
    idempotency: Idempotency,
}

impl FromRef<App> for Idempotency {
    fn from_ref(app: &App) -> Self {
        app.idempotency.clone()
    }
}

#[idempotent(ttl = "24h")]
async fn create_payment(State(_): State<App>, Json(amount): Json<u64>) -> (StatusCode, String) {
    (StatusCode::CREATED, format!("paid {amount}\n"))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = App { idempotency: Idempotency::new(MemoryStore::new()) };
    let routes = Router::new().route("/payments", post(create_payment)).with_state(app);
    axum::serve(TcpListener::bind("127.0.0.1:3000").await?, routes).await
}
