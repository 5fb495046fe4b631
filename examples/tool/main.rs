//! A tool that an agent calls, over streamable HTTP or stdio: however often a call is repeated, the invoice is paid once.
//!
//! `DATABASE_URL=sqlite://invoices.db?mode=rwc cargo run --manifest-path examples/tool/Cargo.toml` serves at `/mcp`, and with
//! `-- stdio` on its standard input and output. The database has the payments and the keys.

use std::{env, sync::Arc};

use axum::{Router, http::request::Parts};
use idempotent_runtime::{Claim, CommitError, Idempotency, Outcome, RunError, SqlStore};
use rmcp::{
    Json, RoleServer, ServiceExt as _,
    handler::server::wrapper::Parameters,
    schemars::{self, JsonSchema},
    service::RequestContext,
    tool, tool_router,
    transport::{
        stdio,
        streamable_http_server::{
            StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
        },
    },
};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;

/// Where a client puts its key in the `_meta` of a call.
const KEY: &str = "example.com/idempotency-key";

#[derive(Serialize, Deserialize, JsonSchema)]
struct Invoice {
    number: String,
    cents: u32,
}

/// What the tool returns. It is also what is stored for the next call with the key.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Receipt {
    payment: i64,
}

#[derive(Clone)]
struct Payments {
    idempotency: Idempotency,
    pool: SqlitePool,
}

#[tool_router(server_handler)]
impl Payments {
    #[tool(
        description = "Pays an invoice. To repeat a call whose result was lost is safe: it pays nothing again.",
        annotations(idempotent_hint = true)
    )]
    async fn pay_invoice(
        &self,
        Parameters(invoice): Parameters<Invoice>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Receipt>, String> {
        let (scope, key) = identify(&invoice, &context)?;
        let operation = self.idempotency.operation("pay_invoice").key(key).scope(scope).fingerprint(&invoice);
        let pool = self.pool.clone();
        result(operation.run(async move |claim: Claim| pay(&pool, claim, invoice).await).await).map(Json)
    }
}

/// The scope and the key of a call: the client's own key, or else the session and the arguments. In one session the same
/// invoice is then paid once. A service that knows its callers puts the caller into the scope as well.
fn identify(invoice: &Invoice, context: &RequestContext<RoleServer>) -> Result<(String, String), String> {
    if let Some(key) = context.meta.get(KEY) {
        let key = key.as_str().ok_or_else(|| format!("{KEY} must be a string."))?;
        return Ok(("client".to_owned(), key.to_owned()));
    }
    let session = match context.extensions.get::<Parts>() {
        Some(parts) => parts.headers.get("mcp-session-id").and_then(|id| id.to_str().ok()),
        // Over stdio each agent has its own server.
        None => Some("stdio"),
    };
    // The protocol of 2026-07-28 has no sessions.
    let session = session.ok_or_else(|| format!("The call has no session, so its _meta needs {KEY}."))?;
    Ok((format!("session {session}"), serde_json::to_string(invoice).map_err(|error| error.to_string())?))
}

/// Writes the payment, and commits it together with its receipt.
async fn pay(pool: &SqlitePool, claim: Claim, invoice: Invoice) -> Result<Receipt, CommitError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let insert = "INSERT INTO payments (invoice, cents) VALUES (?, ?) RETURNING number";
    let insert = sqlx::query_scalar(insert).bind(invoice.number).bind(invoice.cents);
    let payment = insert.fetch_one(&mut *tx).await?;
    claim.commit_value(tx, Receipt { payment }).await
}

/// The receipt, or a result with `isError` whose text tells the agent what to do.
fn result(outcome: Result<Outcome<Receipt>, RunError<CommitError>>) -> Result<Receipt, String> {
    match outcome {
        Ok(Outcome::Ran(receipt) | Outcome::Replayed(receipt)) => Ok(receipt),
        Ok(Outcome::Running { left }) => {
            Err(format!("This payment is still running. Repeat the call in {} seconds.", left.as_secs() + 1))
        }
        Ok(Outcome::KeyReused) => Err("The key was used for another invoice, and this one is not paid.".to_owned()),
        Err(RunError::Effect(_) | RunError::StoreUnavailable | RunError::StoreFull | RunError::TooManyInFlight) => {
            Err("The service is busy. Repeat the call in a few seconds.".to_owned())
        }
        // The record cannot be read, or another setting or version is needed.
        Ok(_) | Err(_) => Err("Do not repeat the call: ask a person to look at this payment.".to_owned()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = SqlitePool::connect(&env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS payments (number INTEGER PRIMARY KEY, invoice TEXT NOT NULL, cents INTEGER NOT NULL)",
    )
    .execute(&pool)
    .await?;
    let store = SqlStore::sqlite(pool.clone());
    store.migrate().await?;
    let payments = Payments { idempotency: Idempotency::builder(store).namespace("tools").build(), pool };

    if env::args().nth(1).is_some_and(|transport| transport == "stdio") {
        payments.serve(stdio()).await?.waiting().await?;
        return Ok(());
    }
    let sessions = Arc::<LocalSessionManager>::default();
    let service =
        StreamableHttpService::new(move || Ok(payments.clone()), sessions, StreamableHttpServerConfig::default());
    let port = env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}/mcp", listener.local_addr()?);
    Ok(axum::serve(listener, Router::new().nest_service("/mcp", service)).await?)
}
