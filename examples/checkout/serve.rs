//! Starts the shop. The tour runs it in its own process.

use std::{env, error::Error};

use axum::{Json, Router, extract::State, http::StatusCode, middleware::from_fn, routing::post};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tokio::net::TcpListener;

use crate::{
    handler::checkout,
    killed,
    orders::{self, Order},
    service::Service,
    shop::Shop,
};

/// With this argument the program is the shop.
pub(crate) const SHOP: &str = "shop";
/// The environment variable with the URL of the shop's database.
pub(crate) const DATABASE: &str = "DATABASE_URL";
/// The environment variable with the URL of the provider and the mail service.
pub(crate) const SERVICES: &str = "SERVICES_URL";

/// Serves on a free port, and prints its address.
pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    let file: SqliteConnectOptions = env::var(DATABASE)?.parse()?;
    let db = SqlitePool::connect_with(file.create_if_missing(true)).await?;
    let shop = Shop::open(db, Service::at(env::var(SERVICES)?)?).await?;
    let routes = Router::new()
        .route("/orders", post(checkout).get(list).layer(from_fn(killed::before_the_answer)))
        .with_state(shop);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, routes).await?)
}

async fn list(State(shop): State<Shop>) -> Result<Json<Vec<Order>>, StatusCode> {
    Ok(Json(orders::all(&shop.db).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?))
}
