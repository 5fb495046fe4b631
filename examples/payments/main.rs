//! placeholder
use axum::{Json, Router, http::StatusCode, routing::post};
use idempotent_runtime::{Idempotency, MemoryStore, idempotent};

#[idempotent(ttl = "24h", scope = body.len())]
async fn create(Json(body): Json<String>) -> (StatusCode, String) {
    (StatusCode::CREATED, body)
}

#[tokio::main]
async fn main() {
    let app: Router = Router::new().route("/payments", post(create)).with_state(Idempotency::new(MemoryStore::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await.unwrap();
    axum::serve(listener, app).await.unwrap();
}
