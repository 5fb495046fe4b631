//! A payment service whose clients may retry. Run it with `cargo run --example payments`.
//!
//! You need not install anything. Keys and ledger are in a SQLite file, so `kill -9` loses nothing. `/openapi` shows the
//! service's OpenAPI document. These environment variables change the set-up:
//!
//! - `PORT`: the port for clients (3000)
//! - `INTERNAL_PORT`: the port for operators (3001)
//! - `DATABASE_URL`: a Postgres that replaces the file
//! - `REDIS_URL`: a Redis for the keys

mod api;
mod demo;
mod handlers;
mod ledger;
mod operators;
mod provider;
mod refused;
mod user;

use std::{
    env,
    error::Error,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use axum::{Router, extract::FromRef, routing::post};
use idempotent_runtime::{Idempotency, RedisStore};
use tokio::{net::TcpListener, signal, time::timeout};

use ledger::Ledger;
use provider::Provider;

/// The router's state. The attribute finds its store in it by `FromRef`.
#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    ledger: Ledger,
    provider: Provider,
    notifications: Arc<AtomicU64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = listen("PORT", "3000").await?;
    let internal = listen("INTERNAL_PORT", "3001").await?;
    // This comes before the first `Idempotency` is built, because its metrics start at zero then.
    let metrics = operators::install_metrics()?;
    let file = env::temp_dir().join(format!("idempotent-payments-{}.db", listener.local_addr()?.port()));
    let (ledger, place) = Ledger::open(&file).await?;
    let redis = match env::var("REDIS_URL") {
        Ok(url) => Some(Arc::new(RedisStore::connect(&url).await?)),
        Err(_) => None,
    };
    let keys = if redis.is_some() { "Redis" } else { "its table idempotency_keys" };
    let store = ledger.store();
    store.migrate().await?;
    // If the claims are in Redis, the payment's transaction still writes the response into the ledger's database.
    let protect = move || match &redis {
        Some(redis) => Idempotency::builder(redis.clone()).commit_to(store.clone()).namespace("payments-example"),
        None => Idempotency::builder(store.clone()).namespace("payments-example"),
    };
    let idempotency = protect().build();
    let app =
        App { idempotency: idempotency.clone(), ledger, provider: Provider::default(), notifications: Arc::default() };
    let routes = Router::new()
        .route("/payments", post(handlers::create_payment).get(handlers::list_payments))
        .route("/payments/{id}/refund", post(handlers::refund_payment))
        .route("/withdrawals", post(handlers::withdraw))
        .route("/charges", post(handlers::charge_card))
        .route("/notifications", post(handlers::notify).get(handlers::count_notifications))
        .with_state(app)
        .merge(api::routes(&idempotency))
        .merge(demo::routes(&idempotency, move || protect().build()));

    let (address, internal_address) = (listener.local_addr()?.to_string(), internal.local_addr()?.to_string());
    // The operators' port serves until the process ends, so operators can watch the shutdown too.
    tokio::spawn(axum::serve(internal, operators::routes(metrics, &idempotency)).into_future());
    print_what_to_try(&address, &internal_address, keys, &place);
    axum::serve(listener, routes).with_graceful_shutdown(asked_to_stop()).await?;

    // A handler goes on when its client's connection is closed. So wait for the handlers that still run.
    if timeout(Duration::from_secs(30), idempotency.drain()).await.is_err() {
        eprintln!("some attempts did not end in 30 s; when their clients retry, the handlers are told");
    }
    // This ledger is for trying the service out. So it is deleted when the service stops in order. After `kill -9` it stays
    // for the next start.
    let _ = std::fs::remove_file(file);
    Ok(())
}

/// Ends when the process gets ctrl-c or SIGTERM.
async fn asked_to_stop() {
    #[cfg(unix)]
    let terminated = async {
        if let Ok(mut signal) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
            signal.recv().await;
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        _ = signal::ctrl_c() => {}
        () = terminated => {}
    }
}

fn print_what_to_try(address: &str, internal: &str, keys: &str, ledger: &str) {
    println!(
        r#"payments on http://{address}/, for operators http://{internal}/idempotency, ledger in {ledger}, keys in {keys}.
Open that page in a browser, or try:

  # pay, and pay again with the same key: one payment, the second answer says `idempotent-replayed: true`
  curl -i {address}/payments -H 'Idempotency-Key: order-1' --json '{{"account":"alice","amount":100,"currency":"EUR"}}'

  # another request under that key: 422
  curl -i {address}/payments -H 'Idempotency-Key: order-1' --json '{{"account":"alice","amount":999,"currency":"EUR"}}'

  # no key: 400, and the answer says what to send
  curl -i {address}/payments --json '{{"account":"alice","amount":100,"currency":"EUR"}}'

  # list the payments that were made
  curl {address}/payments

  # refund it; call a handler with a scope; call a handler that uses its claim
  curl -i -X POST {address}/payments/1/refund -H 'Idempotency-Key: refund-1'
  curl -i {address}/withdrawals -H 'Authorization: Bearer alice' -H 'Idempotency-Key: cash-1' --json 50
  curl -i -X POST {address}/charges -H 'Authorization: Bearer alice' -H 'Idempotency-Key: card-1'

  # for operators: the metrics, and what is known of a key
  curl {internal}/metrics
  curl {internal}/idempotency/lookup --json '{{"key":"order-1"}}'

  # a handler without the attribute: every request counts
  curl -X POST {address}/notifications

Stop with ctrl-c."#
    );
}

/// Listens on the port that the environment variable names.
async fn listen(variable: &str, default: &str) -> Result<TcpListener, String> {
    let port = env::var(variable).unwrap_or_else(|_| default.to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await;
    listener.map_err(|error| format!("cannot listen at port {port} ({error}): choose another by {variable}=PORT"))
}
