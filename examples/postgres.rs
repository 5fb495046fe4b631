//! Commits an order and its response in one transaction of Postgres.
//!
//! Run it with `DATABASE_URL=postgres://localhost/shop cargo run --example postgres`. If the process crashes, either both are
//! in the database, and a retry gets the response, or neither is, and a retry makes the order. So there is one order, however
//! often a client retries.

use axum::{
    Json, Router,
    extract::{FromRef, State},
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
    routing::post,
};
use idempotent_runtime::{Claim, CommitError, Idempotency, SqlStore, idempotent};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

#[derive(Clone, FromRef)]
struct App {
    db: PgPool,
    idempotency: Idempotency,
}

#[derive(Deserialize)]
struct NewOrder {
    item: String,
    cents: i64,
}

#[derive(Serialize)]
struct Order {
    id: i64,
    item: String,
    cents: i64,
}

#[idempotent(ttl = "24h")]
async fn order(
    State(db): State<PgPool>,
    claim: Claim,
    Json(new): Json<NewOrder>,
) -> Result<impl IntoResponse, CommitError> {
    let mut tx = db.begin().await?;
    let insert = sqlx::query_scalar("INSERT INTO orders (item, cents) VALUES ($1, $2) RETURNING id");
    let insert = insert.bind(&new.item).bind(new.cents).fetch_one(&mut *tx);
    let id = insert.await?;
    let order = Order { id, item: new.item, cents: new.cents };
    // This replaces `tx.commit()`. It commits the response together with the order.
    claim.commit(tx, (StatusCode::CREATED, [(LOCATION, format!("/orders/{id}"))], Json(order))).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Use the primary: a replica that lags behind does not have the last responses.
    let url = std::env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set")?;
    let db = PgPool::connect(&url).await?;
    let orders = "CREATE TABLE IF NOT EXISTS orders
        (id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY, item TEXT NOT NULL, cents BIGINT NOT NULL)";
    sqlx::raw_sql(orders).execute(&db).await?;
    // This makes the table of the keys. If you have a migration tool, give it the text of `SqlStore::schema`.
    let store = SqlStore::postgres(db.clone());
    store.migrate().await?;

    let app = App { db, idempotency: Idempotency::builder(store).namespace("shop").build() };
    let router = Router::new().route("/orders", post(order)).with_state(app);
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
