//! A checkout of three steps in its own process, for tests that kill it: a charge and a mail over HTTP, and an order in
//! the database.
//!
//! `DATABASE_URL` has the orders. It has the claims as well, unless `REDIS_URL` names a Redis for them. `SERVICES_URL`
//! is the provider and the mail service. With `STEP_IN` set, steps are saved in a transaction. It prints its address,
//! and `ran STEP` when an effect was done. When a request asks to stop at a point (header `x-stop-at`), it prints
//! `reached POINT` and waits to be killed.

use std::{env, future::pending, time::Duration};

use axum::{
    Router,
    extract::{FromRef, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::{Claim, Idempotency, StepError, idempotent};
use support::{ledger::Ledger, redis_store};
use tokio::net::TcpListener;

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    ledger: Ledger,
    services: String,
    in_transaction: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("an effect failed")]
    Service(#[from] reqwest::Error),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("a step has no value: {0}")]
    Step(String),
}

impl<E: std::fmt::Debug> From<StepError<E>> for Failed {
    fn from(error: StepError<E>) -> Self {
        Self::Step(format!("{error:?}"))
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{self:?}")).into_response()
    }
}

/// Calls a service over HTTP with a key that is derived from the claim's key.
async fn call(app: &App, claim: &Claim, stop: &HeaderMap, service: &str) -> Result<String, Failed> {
    stop_at(stop, &format!("before-{service}")).await;
    let key = claim.derive_key(service).to_string();
    let request = reqwest::Client::new().post(format!("{}/{service}", app.services)).header("idempotency-key", key);
    let done = request.send().await?.error_for_status()?.text().await?;
    println!("ran {service}");
    stop_at(stop, &format!("in-{service}")).await;
    Ok(done)
}

/// Runs every step by `Claim::step`. The table of orders has to recognise an order that exists but was not saved as a
/// step.
async fn by_step(app: &App, claim: &Claim, stop: &HeaderMap) -> Result<String, Failed> {
    let charge: String = claim.step("charge", || call(app, claim, stop, "charge")).await?;
    stop_at(stop, "after-charge").await;
    let order = claim.step("order", async || {
        stop_at(stop, "before-order").await;
        let add = "INSERT INTO payments (reference, amount) SELECT $1, 100 \
                   WHERE NOT EXISTS (SELECT 1 FROM payments WHERE reference = $1)";
        let reference = claim.derive_key("order").to_string();
        match &app.ledger {
            Ledger::Sqlite(pool) => {
                sqlx::query(add).bind(&reference).execute(pool).await?;
            }
            Ledger::Postgres(pool) => {
                sqlx::query(add).bind(&reference).execute(pool).await?;
            }
        }
        println!("ran order");
        stop_at(stop, "in-order").await;
        Ok::<_, Failed>(format!("order of {charge}"))
    });
    let order: String = order.await?;
    stop_at(stop, "after-order").await;
    let mail: String = claim.step("mail", || call(app, claim, stop, "mail")).await?;
    stop_at(stop, "after-mail").await;
    Ok(format!("{order}, {mail}"))
}

/// Runs every step by `Claim::step_in`, for both databases, whose types differ. Only `step_in` prevents a second row
/// for the same order.
macro_rules! by_step_in {
    ($pool:expr, $begin:literal, $app:ident, $claim:ident, $stop:ident) => {{
        let tx = $pool.begin_with($begin).await?;
        let charge = $claim.step_in(tx, "charge", async |_| call($app, $claim, $stop, "charge").await).await?;
        stop_at($stop, "after-charge").await;
        let tx = $pool.begin_with($begin).await?;
        let order = $claim.step_in(tx, "order", async |db| {
            stop_at($stop, "before-order").await;
            let add = sqlx::query("INSERT INTO payments (reference, amount) VALUES ($1, 100)");
            add.bind($claim.derive_key("order").to_string()).execute(db).await?;
            println!("ran order");
            stop_at($stop, "in-order").await;
            Ok::<_, Failed>(format!("order of {charge}"))
        });
        let order: String = order.await?;
        stop_at($stop, "after-order").await;
        let tx = $pool.begin_with($begin).await?;
        let mail = $claim.step_in(tx, "mail", async |_| call($app, $claim, $stop, "mail").await).await?;
        stop_at($stop, "after-mail").await;
        Ok(format!("{order}, {mail}"))
    }};
}

#[idempotent(ttl = "24h", lease = "1s")]
async fn checkout(State(app): State<App>, claim: Claim, stop: HeaderMap) -> Result<(StatusCode, String), Failed> {
    let (app, claim, stop) = (&app, &claim, &stop);
    let done = match &app.ledger {
        _ if !app.in_transaction => by_step(app, claim, stop).await,
        Ledger::Sqlite(pool) => by_step_in!(pool, "BEGIN IMMEDIATE", app, claim, stop),
        Ledger::Postgres(pool) => by_step_in!(pool, "BEGIN", app, claim, stop),
    };
    done.map(|done| (StatusCode::CREATED, done))
}

/// If the request asks for it, prints that the point is reached and waits for ever.
async fn stop_at(headers: &HeaderMap, point: &str) {
    if headers.get("x-stop-at").is_some_and(|wanted| wanted == point) {
        println!("reached {point}");
        pending::<()>().await;
    }
}

#[tokio::main]
async fn main() {
    let ledger = Ledger::connect(&env::var("DATABASE_URL").expect("DATABASE_URL")).await;
    let builder = match env::var("REDIS_URL") {
        Ok(url) => {
            let store = redis_store::patient().connect(&url).await.expect("a Redis");
            Idempotency::builder(store).commit_to(ledger.store())
        }
        Err(_) => Idempotency::builder(ledger.store()),
    };
    // The timeout is long, so that a busy machine does not look like an outage.
    let idempotency = builder.store_timeout(Duration::from_secs(10)).build();
    let services = env::var("SERVICES_URL").expect("SERVICES_URL");
    let app = App { idempotency, ledger, services, in_transaction: env::var_os("STEP_IN").is_some() };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("an address"));
    let routes = Router::new().route("/checkouts", post(checkout)).with_state(app);
    axum::serve(listener, routes).await.expect("serves");
}
