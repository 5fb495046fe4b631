//! A transaction that an outer layer commits, and one that the handler commits, as `docs/layers.md` shows it.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::Request,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::MemoryStore;
use sqlx::{Sqlite, Transaction, sqlite::SqlitePoolOptions};
use support::in_process;
use tokio::sync::{Mutex, Notify};

recipe::recipe!("docs/layers.md", "A transaction of an outer layer");

/// The transaction of a request. Its layer begins and commits it.
#[derive(Clone)]
struct OfTheRequest(Arc<Mutex<Option<Transaction<'static, Sqlite>>>>);

async fn with_transaction(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let tx = Arc::new(Mutex::new(app.db.begin().await.ok()));
    request.extensions_mut().insert(OfTheRequest(tx.clone()));
    let response = next.run(request).await;
    let Some(tx) = tx.lock().await.take() else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    match tx.commit().await {
        Ok(()) => response,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[idempotent(ttl = "24h")]
async fn pay_in_the_layers(Extension(OfTheRequest(tx)): Extension<OfTheRequest>, cents: String) -> StatusCode {
    let mut tx = tx.lock().await;
    let Some(tx) = tx.as_mut() else { return StatusCode::SERVICE_UNAVAILABLE };
    let insert = sqlx::query("INSERT INTO payments (cents) VALUES (?)").bind(cents).execute(&mut **tx).await;
    if insert.is_ok() { StatusCode::CREATED } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// What a first request gets whose COMMIT fails, what its retry gets, and how many payments there are then.
async fn retried_after_a_failed_commit(layered: bool) -> (u16, (u16, bool), i64) {
    let db = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    // The account is missing, which SQLite finds at the COMMIT.
    let tables = "CREATE TABLE accounts (id INTEGER PRIMARY KEY);
         CREATE TABLE payments (cents TEXT, account INTEGER DEFAULT 7 REFERENCES accounts DEFERRABLE INITIALLY DEFERRED)";
    sqlx::raw_sql(tables).execute(&db).await.unwrap();
    let app = App { db: db.clone(), idempotency: Idempotency::new(MemoryStore::new()) };
    let router = if layered {
        Router::new().route("/", post(pay_in_the_layers)).layer(from_fn_with_state(app.clone(), with_transaction))
    } else {
        Router::new().route("/", post(pay))
    };
    let router = router.with_state(app);
    let first = in_process::send(&router, "/", "k", "4200").await;
    sqlx::raw_sql("INSERT INTO accounts VALUES (7)").execute(&db).await.unwrap();
    let retry = in_process::send(&router, "/", "k", "4200").await;
    let rows = sqlx::query_scalar("SELECT count(*) FROM payments").fetch_one(&db).await.unwrap();
    (first.status.as_u16(), (retry.status.as_u16(), retry.replayed), rows)
}

/// The attribute cannot see this: it has stored the response when the layer commits.
#[tokio::test]
async fn a_commit_that_fails_in_an_outer_layer_leaves_a_stored_success_without_rows() {
    assert_eq!(retried_after_a_failed_commit(true).await, (500, (201, true), 0));
}

/// The same when the client hangs up before the COMMIT: the layer's future is dropped, and its transaction with it.
#[tokio::test]
async fn a_client_that_hangs_up_before_the_commit_of_an_outer_layer_leaves_a_stored_success_without_rows() {
    let db = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    sqlx::raw_sql("CREATE TABLE payments (cents TEXT)").execute(&db).await.unwrap();
    let app = App { db: db.clone(), idempotency: Idempotency::new(MemoryStore::new()) };
    let ran = Arc::new(Notify::new());
    // Holds the first response between the handler and the COMMIT.
    let hold = async |State(ran): State<Arc<Notify>>, request: Request, next: Next| {
        let response = next.run(request).await;
        if !response.headers().contains_key("idempotent-replayed") {
            ran.notify_one();
            std::future::pending::<()>().await;
        }
        response
    };
    let router = Router::new()
        .route("/", post(pay_in_the_layers))
        .layer(from_fn_with_state(ran.clone(), hold))
        .layer(from_fn_with_state(app.clone(), with_transaction))
        .with_state(app);
    tokio::select! {
        first = in_process::send(&router, "/", "k", "4200") => panic!("{}", first.status),
        () = ran.notified() => {}
    }
    let retry = in_process::send(&router, "/", "k", "4200").await;
    assert_eq!((retry.status.as_u16(), retry.replayed), (201, true));
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM payments").fetch_one(&db).await.unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_commit_that_fails_in_the_handler_frees_the_key() {
    assert_eq!(retried_after_a_failed_commit(false).await, (503, (201, false), 1));
}
