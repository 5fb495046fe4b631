//! A payment service whose handlers use the transaction and the claim in the way that a request asks for.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{DefaultBodyLimit, FromRef, Request, State},
    http::{HeaderMap, StatusCode, header::LOCATION},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::{Claim, CommitError, Idempotency, Outcome, RunError, idempotent};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::ledger::Ledger;

/// The lease of every handler here. A busy machine has to keep it, and some tests wait for its end.
pub const LEASE: Duration = Duration::from_secs(3);

/// How the handlers commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `Claim::commit`.
    Commit,
    /// `Claim::record` and the handler's own COMMIT.
    Record,
    /// The fields of `Claim::entry` and the journal's statement, as with another driver.
    Entry,
    /// The handler's own COMMIT. There is no journal.
    Plain,
}

/// What the handlers need.
#[derive(Clone, FromRef)]
pub struct App {
    /// What protects them.
    pub idempotency: Idempotency,
    /// Where the payments are.
    pub ledger: Ledger,
    /// How the handlers commit.
    pub way: Way,
    /// The statement that stores a response for [`Way::Entry`].
    entry_statement: String,
    /// What the handlers counted.
    pub counts: Arc<Counts>,
    /// Where the handlers stop.
    pub stops: Arc<Stops>,
}

/// The points at which requests ask to stop.
#[derive(Default)]
pub struct Stops {
    /// Notified when a request has stopped.
    pub reached: Notify,
    /// Lets the request go on.
    pub go_on: Notify,
}

/// What the handlers counted.
#[derive(Default)]
pub struct Counts {
    /// Handlers that began their transaction.
    pub runs: AtomicUsize,
    /// Transactions that were rolled back because of a row in the journal.
    pub rolled_back: AtomicUsize,
    /// Handlers that were told that an earlier attempt had died.
    pub recovering: AtomicUsize,
}

impl App {
    /// Uses a store and its own journal.
    pub fn new(idempotency: Idempotency, ledger: Ledger, way: Way) -> Self {
        let entry_statement = ledger.store().commit_statement().to_owned();
        Self { idempotency, ledger, way, entry_statement, counts: Arc::default(), stops: Arc::default() }
    }

    /// Keeps the claims in the ledger's database as well.
    pub fn on_its_database(ledger: Ledger, way: Way) -> Self {
        // The timeout is long, so that a busy machine does not look like an outage.
        let builder = Idempotency::builder(ledger.store()).store_timeout(Duration::from_secs(60));
        let entry_statement = ledger.store().commit_statement().to_owned();
        Self { entry_statement, ..Self::new(builder.build(), ledger, way) }
    }
}

/// The routes of the service.
pub fn routes(app: App) -> Router {
    Router::new()
        .route("/payments", post(pay).get(pay_on_get))
        .route("/operations", post(pay_by_an_operation))
        .route("/optional", post(pay_optionally))
        .route("/refusing", post(pay_once_or_refuse))
        .layer(DefaultBodyLimit::max(1 << 20))
        .layer(from_fn_with_state(app.clone(), around))
        .with_state(app)
}

/// A payment, and how the handler is to misbehave.
#[allow(clippy::struct_excessive_bools)] // each is a wish of a test's
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NewPayment {
    /// What it is for.
    pub reference: String,
    /// How much it is.
    pub amount: i64,
    /// Answer with this status instead of 201.
    #[serde(default)]
    pub status: Option<u16>,
    /// Before anything else, refuse with 409 a payment that is already in the ledger.
    #[serde(default)]
    pub check: bool,
    /// Refuse with 422 without a transaction.
    #[serde(default)]
    pub refuse: bool,
    /// Refuse with 422 if an earlier attempt died.
    #[serde(default)]
    pub refuse_when_recovering: bool,
    /// In record mode, if an earlier attempt died: roll back after the recording, and refuse with 422.
    #[serde(default)]
    pub refuse_after_record: bool,
    /// Pay and commit a second time.
    #[serde(default)]
    pub twice: bool,
    /// What to do after the commit: `err`, `panic` or `hang`.
    #[serde(default)]
    pub afterwards: Option<String>,
    /// Send so many bytes after the JSON. With -1, send without end.
    #[serde(default)]
    pub padding: i64,
    /// In record mode: do not commit.
    #[serde(default)]
    pub forget: bool,
    /// In Postgres: use this isolation level.
    #[serde(default)]
    pub isolation: Option<String>,
    /// Hold the transaction open for this long before the commit.
    #[serde(default)]
    pub pause_ms: u64,
    /// Drop the commit's future after this long.
    #[serde(default)]
    pub give_up_ms: Option<u64>,
}

/// A payment that was made.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Payment {
    /// The id of its row.
    pub id: i64,
    /// What it is for.
    pub reference: String,
    /// How much it is.
    pub amount: i64,
}

/// Why nothing was paid.
#[derive(Debug, thiserror::Error)]
enum PayError {
    /// The response was not committed.
    #[error("the commit failed: {0:?}")]
    Commit(#[from] CommitError),
    /// A statement failed.
    #[error("the database failed: {0:?}")]
    Database(#[from] sqlx::Error),
    /// The handler refused.
    #[error("{1}")]
    Refused(StatusCode, &'static str),
}

impl IntoResponse for PayError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Refused(status, _) => *status,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.to_string()).into_response()
    }
}

#[idempotent(ttl = "24h", lease = "3s")]
async fn pay(
    State(app): State<App>,
    claim: Claim,
    stop: HeaderMap,
    Json(new): Json<NewPayment>,
) -> Result<Response, PayError> {
    carry_out(&app, &claim, &stop, new).await
}

#[idempotent(ttl = "24h", lease = "3s")]
async fn pay_on_get(State(app): State<App>, claim: Claim, stop: HeaderMap) -> Result<Response, PayError> {
    let new = NewPayment { reference: "on-get".to_owned(), ..nothing() };
    carry_out(&app, &claim, &stop, new).await
}

#[idempotent(ttl = "24h", lease = "3s", required = false)]
async fn pay_optionally(
    State(app): State<App>,
    claim: Claim,
    Json(new): Json<NewPayment>,
) -> Result<Response, PayError> {
    carry_out(&app, &claim, &HeaderMap::new(), new).await
}

#[idempotent(ttl = "24h", lease = "3s", takeover = "refuse")]
async fn pay_once_or_refuse(
    State(app): State<App>,
    claim: Claim,
    stop: HeaderMap,
    Json(new): Json<NewPayment>,
) -> Result<Response, PayError> {
    carry_out(&app, &claim, &stop, new).await
}

/// The same payment as an operation. Its handler is not protected, and answers as a protected one does.
async fn pay_by_an_operation(State(app): State<App>, headers: HeaderMap, Json(new): Json<NewPayment>) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let operation = app.idempotency.operation("payments").key(key).fingerprint(&new).lease(LEASE);
    let effect = {
        let app = app.clone();
        async move |claim: Claim| {
            let response = carry_out(&app, &claim, &headers, new).await?;
            let body = to_bytes(response.into_body(), 1 << 20).await.expect("a payment");
            Ok::<Payment, PayError>(serde_json::from_slice(&body).expect("a payment"))
        }
    };
    match operation.run(effect).await {
        Ok(Outcome::Ran(payment)) => (StatusCode::CREATED, Json(payment)).into_response(),
        Ok(Outcome::Replayed(payment)) => {
            (StatusCode::CREATED, [("idempotent-replayed", "true")], Json(payment)).into_response()
        }
        Ok(Outcome::Running { .. }) => StatusCode::CONFLICT.into_response(),
        Ok(other) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{other:?}")).into_response(),
        Err(RunError::Effect(error)) => error.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// A payment of nothing, for a handler that does nothing unusual.
pub fn nothing() -> NewPayment {
    serde_json::from_str(r#"{"reference": "", "amount": 0}"#).expect("the rest has defaults")
}

/// The same code for both databases, whose types differ.
macro_rules! transact {
    ($pool:expr, $begin:expr, $app:ident, $claim:ident, $stop:ident, $new:ident) => {{
        let mut tx = $pool.begin_with($begin).await?;
        stop_at($app, $stop, "in-transaction").await;
        let insert = sqlx::query_scalar("INSERT INTO payments (reference, amount) VALUES ($1, $2) RETURNING id");
        let id: i64 = insert.bind(&$new.reference).bind($new.amount).fetch_one(&mut *tx).await?;
        stop_at($app, $stop, "after-effect").await;
        tokio::time::sleep(Duration::from_millis($new.pause_ms)).await;
        let response = respond(id, &$new);
        match $app.way {
            Way::Plain => {
                tx.commit().await?;
                response
            }
            Way::Commit => {
                let committed = match $new.give_up_ms {
                    None => $claim.commit(tx, response).await?,
                    Some(after) => tokio::time::timeout(Duration::from_millis(after), $claim.commit(tx, response))
                        .await
                        .map_err(|_| PayError::Refused(StatusCode::GATEWAY_TIMEOUT, "gave up"))??,
                };
                $app.counts.rolled_back.fetch_add(usize::from(committed.replayed()), SeqCst);
                if $new.twice {
                    let mut tx = $pool.begin().await?;
                    let insert = sqlx::query("INSERT INTO payments (reference, amount) VALUES ($1, $2)");
                    insert.bind(&$new.reference).bind($new.amount).execute(&mut *tx).await?;
                    drop($claim.commit(tx, StatusCode::OK).await?);
                }
                committed.into_response()
            }
            Way::Entry => {
                let (entry, response) = $claim.entry(response).await?;
                let row = entry.expect("there is a key");
                let insert = sqlx::query(&$app.entry_statement).bind(row.key).bind(row.fingerprint).bind(row.token);
                let insert = insert.bind(row.fence).bind(row.record).bind(row.ttl_millis);
                if insert.execute(&mut *tx).await?.rows_affected() == 1 {
                    tx.commit().await?;
                } else {
                    $app.counts.rolled_back.fetch_add(1, SeqCst);
                    tx.rollback().await?;
                }
                response
            }
            Way::Record => {
                let recorded = $claim.record(&mut tx, response).await?;
                stop_at($app, $stop, "recorded").await;
                if $new.refuse_after_record && $claim.recovering() {
                    tx.rollback().await?;
                    return Err(PayError::Refused(StatusCode::UNPROCESSABLE_ENTITY, "refused"));
                }
                if recorded.replayed() || $new.forget {
                    $app.counts.rolled_back.fetch_add(1, SeqCst);
                    tx.rollback().await?;
                } else {
                    tx.commit().await?;
                }
                recorded.into_response()
            }
        }
    }};
}

async fn carry_out(app: &App, claim: &Claim, stop: &HeaderMap, new: NewPayment) -> Result<Response, PayError> {
    stop_at(app, stop, "after-claim").await;
    app.counts.recovering.fetch_add(usize::from(claim.recovering()), SeqCst);
    if new.refuse || (new.refuse_when_recovering && claim.recovering()) {
        return Err(PayError::Refused(StatusCode::UNPROCESSABLE_ENTITY, "refused"));
    }
    if new.check && app.ledger.rows(&new.reference).await > 0 {
        return Err(PayError::Refused(StatusCode::CONFLICT, "paid already"));
    }
    stop_at(app, stop, "before-transaction").await;
    app.counts.runs.fetch_add(1, SeqCst);
    let response = match &app.ledger {
        Ledger::Sqlite(pool) => transact!(pool, "BEGIN IMMEDIATE", app, claim, stop, new),
        Ledger::Postgres(pool) => {
            let begin = format!("BEGIN ISOLATION LEVEL {}", new.isolation.as_deref().unwrap_or("READ COMMITTED"));
            transact!(pool, begin, app, claim, stop, new)
        }
    };
    stop_at(app, stop, "after-commit").await;
    match new.afterwards.as_deref() {
        Some("err") => Err(PayError::Refused(StatusCode::BAD_REQUEST, "an error after the commit")),
        Some("panic") => panic!("a panic after the commit"),
        Some("hang") => pending().await,
        _ => Ok(response),
    }
}

fn respond(id: i64, new: &NewPayment) -> Response {
    let status = new.status.map_or(StatusCode::CREATED, |status| StatusCode::from_u16(status).expect("a status"));
    let payment = Payment { id, reference: new.reference.clone(), amount: new.amount };
    let location = [(LOCATION, format!("/payments/{id}"))];
    match new.padding {
        0 => (status, location, Json(payment)).into_response(),
        1.. => (status, location, vec![b'x'; usize::try_from(new.padding).expect("a length")]).into_response(),
        _ => (status, location, Body::from_stream(Endless)).into_response(),
    }
}

/// A body that never ends: it sends a chunk from time to time.
struct Endless;

impl futures_core::Stream for Endless {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let waker = context.waker().clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            waker.wake();
        });
        std::task::Poll::Ready(Some(Ok(Bytes::from_static(b"tick "))))
    }
}

/// Stops, if the request asks for it, before the attribute claims the key, and after the answer is ready.
async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let stop = request.headers().clone();
    stop_at(&app, &stop, "before-claim").await;
    let response = next.run(request).await;
    stop_at(&app, &stop, "before-response").await;
    response
}

/// If the request asks for it, prints the point and waits until it may go on, or for ever.
async fn stop_at(app: &App, headers: &HeaderMap, point: &str) {
    if headers.get("x-stop-at").is_some_and(|wanted| wanted == point) {
        println!("reached {point}");
        app.stops.reached.notify_one();
        app.stops.go_on.notified().await;
    }
}
