//! A payment service whose clients may retry: `cargo run --example payments`.
//!
//! Nothing has to be installed, and `kill -9` loses nothing: keys and ledger are in a file of SQLite. `PORT` chooses the port
//! (3000), `INTERNAL_PORT` the one for operators (3001), `DATABASE_URL` a Postgres in the place of the file, `REDIS_URL` a Redis
//! for the keys. `/openapi` shows the service's OpenAPI document.

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

/// The router's state. `FromRef` is how the attribute finds its store in it.
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
    // Before anything counts.
    let metrics = operators::install_metrics()?;
    let file = env::temp_dir().join(format!("idempotent-payments-{}.db", listener.local_addr()?.port()));
    let (ledger, place) = Ledger::open(&file).await?;
    let redis = match env::var("REDIS_URL") {
        Ok(url) => Some(Arc::new(RedisStore::connect(&url).await?)),
        Err(_) => None,
    };
    let keys = if redis.is_some() { "Redis" } else { "its table idempotency_keys" };
    let (store, journal) = (ledger.store(), ledger.journal());
    store.migrate().await?;
    journal.migrate().await?;
    tokio::spawn(journal.clone().keep_small(Duration::from_secs(60)));
    // A store in the ledger's database needs no journal: the row of a key takes the response in the payment's transaction.
    let protect = move || match &redis {
        Some(redis) => Idempotency::builder(redis.clone()).journal(journal.clone()).namespace("payments-example"),
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
    // It serves until the process ends, so that what happens while it stops is seen too.
    tokio::spawn(axum::serve(internal, operators::routes(metrics, &idempotency)).into_future());
    print_what_to_try(&address, &internal_address, keys, &place);
    axum::serve(listener, routes).with_graceful_shutdown(asked_to_stop()).await?;

    // A handler outlives its client's connection, so wait for those that still run.
    if timeout(Duration::from_secs(30), idempotency.drain()).await.is_err() {
        eprintln!("some attempts did not end in 30 s; their retries will be told that they died");
    }
    // A ledger for trying things out: kill -9 leaves it for the next start, as it should, and an orderly stop does not.
    let _ = std::fs::remove_file(file);
    Ok(())
}

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

  # what really happened
  curl {address}/payments

  # give it back, and a handler for whoever is logged in, and one that sees its claim
  curl -i -X POST {address}/payments/1/refund -H 'Idempotency-Key: refund-1'
  curl -i {address}/withdrawals -H 'Authorization: Bearer alice' -H 'Idempotency-Key: cash-1' --json 50
  curl -i -X POST {address}/charges -H 'Idempotency-Key: card-1'

  # what an operator sees: the numbers, and what is known of a key
  curl {internal}/metrics
  curl {internal}/idempotency/lookup --json '{{"key":"order-1"}}'

  # no attribute, no protection: this counts every time
  curl -X POST {address}/notifications

Stop with ctrl-c."#
    );
}

/// Listens at the port that the variable names.
async fn listen(variable: &str, default: &str) -> Result<TcpListener, String> {
    let port = env::var(variable).unwrap_or_else(|_| default.to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await;
    listener.map_err(|error| format!("cannot listen at port {port} ({error}): choose another by {variable}=PORT"))
}
