//! The quickstart with SQLite as its store: the stored responses survive a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::{Json, Router, extract::FromRef, extract::State, http::StatusCode, routing::post};
use idempotent_runtime::{Idempotency, idempotent};

struct App {
    idempotency: Idempotency,
    payments: AtomicU64,
}

// The attribute finds its store by this. If it is missing, the compiler's error says so.
impl FromRef<App> for Idempotency {
    fn from_ref(app: &App) -> Self {
        app.idempotency.clone()
    }
}

#[idempotent(ttl = "24h")]
async fn pay(State(app): State<Arc<App>>, Json(cents): Json<u64>) -> (StatusCode, String) {
    let number = app.payments.fetch_add(1, Relaxed) + 1;
    (StatusCode::CREATED, format!("payment {number}: {cents} cents\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // SQLite: cargo add idempotent-runtime --features sqlx-sqlite; cargo add sqlx@0.8 --features runtime-tokio
    let store = idempotent_runtime::SqlStore::sqlite(sqlx::SqlitePool::connect("sqlite://keys.db?mode=rwc").await?);
    store.migrate().await?;

    let app = App { idempotency: Idempotency::builder(store).namespace("pay").build(), payments: AtomicU64::new(0) };
    let router = Router::new().route("/payments", post(pay)).with_state(Arc::new(app));
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
