//! A database that gives no answer when a handler ends that has not used it: its pool is closed.

use std::panic::AssertUnwindSafe;

use axum::{
    Router,
    body::Body,
    extract::{FromRef, State},
    http::{Request, StatusCode},
    routing::post,
};
use futures_util::FutureExt as _;
use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
use sqlx::SqlitePool;
use tower::ServiceExt as _;

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    db: SqlitePool,
}

#[idempotent(ttl = "1h")]
async fn closes(State(db): State<SqlitePool>, way: String) -> StatusCode {
    db.close().await;
    match way.as_str() {
        "panics" => panic!("an expected panic of the test's handler"),
        "refuses" => StatusCode::CONFLICT,
        _ => StatusCode::CREATED,
    }
}

/// The answers to a request and its retry, and whether each is a replay. `None` if the handler panicked.
async fn answers(way: &'static str) -> [Option<(u16, bool)>; 2] {
    let (journal, db, _directory) = support::sql_store::on_sqlite_with_pool().await;
    let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(journal).build();
    let app: Router = Router::new().route("/", post(closes)).with_state(App { idempotency, db });
    let mut answers = [None; 2];
    for answer in &mut answers {
        let request = Request::post("/").header("idempotency-key", "k").body(Body::from(way)).unwrap();
        let answered = AssertUnwindSafe(app.clone().oneshot(request)).catch_unwind().await;
        let is_replay = |headers: &axum::http::HeaderMap| headers.contains_key("idempotent-replayed");
        *answer = answered.ok().map(|it| it.unwrap()).map(|it| (it.status().as_u16(), is_replay(it.headers())));
    }
    answers
}

#[tokio::test]
async fn a_success_of_a_first_attempt_is_stored_and_a_refusal_is_not() {
    assert_eq!(answers("succeeds").await, [Some((201, false)), Some((201, true))]);
    assert_eq!(answers("refuses").await, [Some((503, false)); 2]);
}

#[tokio::test]
async fn a_panic_stays_a_panic() {
    assert_eq!(answers("panics").await[0], None);
}
