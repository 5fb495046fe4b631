//! Claims in Redis, orders and their responses in Postgres: from `main` to graceful shutdown.
//!
//! Run it with `REDIS_URL=redis://localhost/ DATABASE_URL=postgres://localhost/shop cargo run --example redis_and_postgres`.

use std::{env, error::Error, time::Duration};

use axum::{
    Json, Router,
    extract::{FromRef, State},
    http::{Method, StatusCode},
    response::IntoResponse,
    routing::{get, post},
};
use idempotent_runtime::{
    AdminRouter, Claim, CommitError, Idempotency, RedisStore, STORE_SECONDS_BUCKETS, SqlStore, idempotent,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use sqlx::PgPool;
use tokio::{net::TcpListener, signal, time::timeout};

#[derive(Clone, FromRef)]
struct App {
    db: PgPool,
    idempotency: Idempotency,
}

// Redis keeps the claim and answers replays. The transaction has the order and its response: both are there, or neither.
#[idempotent(ttl = "24h")]
async fn order(
    State(db): State<PgPool>,
    claim: Claim,
    Json(cents): Json<i64>,
) -> Result<impl IntoResponse, CommitError> {
    let mut tx = db.begin().await?;
    let insert = sqlx::query_scalar("INSERT INTO orders (cents) VALUES ($1) RETURNING id").bind(cents);
    let id: i64 = insert.fetch_one(&mut *tx).await?;
    claim.commit(tx, (StatusCode::CREATED, Json(id))).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The exporter comes first: metrics begin at zero when an `Idempotency` is built.
    let buckets = Matcher::Prefix("idempotency_".to_owned());
    let metrics =
        PrometheusBuilder::new().set_buckets_for_metric(buckets, &STORE_SECONDS_BUCKETS)?.install_recorder()?;
    let db = PgPool::connect(&env::var("DATABASE_URL")?).await?;
    let table = "CREATE TABLE IF NOT EXISTS orders (id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY, cents BIGINT)";
    sqlx::raw_sql(table).execute(&db).await?;
    let commits = SqlStore::postgres(db.clone());
    commits.migrate().await?;
    let redis = RedisStore::connect(&env::var("REDIS_URL")?).await?;
    let idempotency = Idempotency::builder(redis).commit_to(commits).namespace("shop").build();

    // For operators, on a port that clients cannot reach: metrics, and what is known of a key. Put your login around it.
    let admin = AdminRouter::new(idempotency.clone()).handler(Method::POST, "/orders");
    let internal = Router::new()
        .nest("/idempotency", admin.into_router())
        .route("/metrics", get(move || std::future::ready(metrics.render())));
    let (listener, operators) = (listen("PORT", "3000").await?, listen("INTERNAL_PORT", "3001").await?);
    println!("http://{}, for operators http://{}", listener.local_addr()?, operators.local_addr()?);
    tokio::spawn(axum::serve(operators, internal).into_future());

    let app = Router::new().route("/orders", post(order)).with_state(App { db, idempotency: idempotency.clone() });
    axum::serve(listener, app).with_graceful_shutdown(asked_to_stop()).await?;
    // A handler goes on when its client has hung up: wait for those that still run.
    if timeout(Duration::from_secs(20), idempotency.drain()).await.is_err() {
        eprintln!("some attempts did not end in time: after their leases, retries run these handlers again");
    }
    Ok(())
}

async fn listen(variable: &str, default: &str) -> std::io::Result<TcpListener> {
    let port = env::var(variable).unwrap_or_else(|_| default.to_owned());
    TcpListener::bind(format!("127.0.0.1:{port}")).await
}

/// Ends at SIGTERM or ctrl-c.
async fn asked_to_stop() {
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = signal::ctrl_c() => {}
        _ = terminated => {}
    }
}
