//! What goes wrong around a journal, and what client and operator are told: savepoints, pools that are too small, tables
//! that are missing, damaged or never cleaned. On SQLite and on Postgres.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{FromRef, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::{Claim, CommitError, Idempotency, MemoryStore, SqlStore, idempotent};
use sqlx::{Acquire as _, postgres::PgPoolOptions, sqlite::SqlitePoolOptions};
use support::{
    in_process::{Answer, send},
    ledger::Ledger,
    observed::Observed,
    postgres::Postgres,
};
use tokio::sync::Notify;

/// What the handler does with its transaction.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    Commit,
    Record,
    /// Over a connection that the handler holds until it has answered.
    CommitOverAConnection,
    /// Without a transaction.
    Refuse,
    CommitSavepoint,
    RecordSavepoint,
    /// The outer transaction, after the savepoint was refused.
    CommitAfterSavepoint,
    /// COMMIT is refused by a deferred constraint.
    CommitWhatIsRefused,
    /// In a task that goes on when the handler has answered.
    CommitAfterTheAnswer,
}

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    ledger: Ledger,
    runs: Arc<AtomicUsize>,
    late: Late,
}

/// The results of the commits of a task that outlives its handler. The task begins when the test tells it to.
#[derive(Clone, Default)]
struct Late {
    begin: Arc<Notify>,
    came_of_it: Arc<Mutex<Vec<String>>>,
}

/// An error type as services usually have it.
#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            Self::Commit(error) => error.into_response(),
            Self::Database(error) => (StatusCode::BAD_GATEWAY, format!("{error:?}")).into_response(),
        }
    }
}

/// The same for both databases, whose types differ.
macro_rules! pay {
    ($app:expr, $pool:expr, $begin:expr, $claim:expr, $way:expr) => {{
        let (app, pool, claim) = (&$app, $pool, $claim);
        let insert = "INSERT INTO payments (reference, amount) VALUES ('a', 1)";
        match $way {
            Way::Refuse => Ok((StatusCode::CONFLICT, "refused").into_response()),
            Way::CommitAfterTheAnswer => {
                tokio::spawn(pay_late(app.ledger.clone(), app.late.clone(), claim));
                Ok((StatusCode::ACCEPTED, "later").into_response())
            }
            Way::Commit => {
                let mut tx = pool.begin_with($begin).await?;
                sqlx::query(insert).execute(&mut *tx).await?;
                Ok(claim.commit(tx, StatusCode::CREATED).await?.into_response())
            }
            Way::CommitOverAConnection => {
                let mut connection = pool.acquire().await?;
                let mut tx = connection.begin().await?;
                sqlx::query(insert).execute(&mut *tx).await?;
                let committed = claim.commit(tx, StatusCode::CREATED).await;
                sqlx::query("SELECT 1").execute(&mut *connection).await?;
                Ok(committed?.into_response())
            }
            Way::Record => {
                let mut tx = pool.begin_with($begin).await?;
                sqlx::query(insert).execute(&mut *tx).await?;
                let recorded = claim.record(&mut tx, StatusCode::CREATED).await?;
                if recorded.replayed() {
                    tx.rollback().await?
                } else {
                    tx.commit().await?
                }
                Ok(recorded.into_response())
            }
            Way::CommitSavepoint => {
                let mut tx = pool.begin_with($begin).await?;
                let mut savepoint = tx.begin().await?;
                sqlx::query(insert).execute(&mut *savepoint).await?;
                Ok(claim.commit(savepoint, StatusCode::CREATED).await?.into_response())
            }
            Way::RecordSavepoint => {
                let mut tx = pool.begin_with($begin).await?;
                let mut savepoint = tx.begin().await?;
                sqlx::query(insert).execute(&mut *savepoint).await?;
                Ok(claim.record(&mut savepoint, StatusCode::CREATED).await?.into_response())
            }
            Way::CommitAfterSavepoint => {
                let mut tx = pool.begin_with($begin).await?;
                sqlx::query(insert).execute(&mut *tx).await?;
                let savepoint = tx.begin().await?;
                let refused = claim.commit(savepoint, StatusCode::OK).await;
                assert!(matches!(refused, Err(CommitError::Savepoint)), "{refused:?}");
                Ok(claim.commit(tx, StatusCode::CREATED).await?.into_response())
            }
            Way::CommitWhatIsRefused => {
                let mut connection = pool.acquire().await?;
                let mut tx = connection.begin().await?;
                sqlx::query("INSERT INTO items (payment) VALUES (12345)").execute(&mut *tx).await?;
                let committed = claim.commit(tx, StatusCode::CREATED).await;
                sqlx::query("SELECT 1").execute(&mut *connection).await?;
                Ok(committed?.into_response())
            }
        }
    }};
}

#[idempotent(ttl = "24h", lease = "1s")]
async fn pay(State(app): State<App>, claim: Claim, Json(way): Json<Way>) -> Result<Response, AppError> {
    app.runs.fetch_add(1, SeqCst);
    match &app.ledger {
        Ledger::Sqlite(pool) => pay!(app, pool, "BEGIN IMMEDIATE", claim, way),
        Ledger::Postgres(pool) => pay!(app, pool, "BEGIN", claim, way),
    }
}

macro_rules! pay_late {
    ($pool:expr, $claim:expr, $late:expr) => {{
        let insert = "INSERT INTO payments (reference, amount) VALUES ('a', 1)";
        let mut tx = $pool.begin().await.expect("a transaction");
        sqlx::query(insert).execute(&mut *tx).await.expect("a row");
        let committed = format!("{:?}", $claim.commit(tx, StatusCode::CREATED).await);
        let mut tx = $pool.begin().await.expect("a transaction");
        sqlx::query(insert).execute(&mut *tx).await.expect("a row");
        let recorded = format!("{:?}", $claim.record(&mut tx, StatusCode::CREATED).await);
        tx.rollback().await.expect("answers");
        let entry = format!("{:?}", $claim.entry(StatusCode::CREATED).await.err());
        $late.came_of_it.lock().expect("nobody panics").extend([committed, recorded, entry]);
    }};
}

async fn pay_late(ledger: Ledger, late: Late, claim: Claim) {
    late.begin.notified().await;
    match &ledger {
        Ledger::Sqlite(pool) => pay_late!(pool, claim, late),
        Ledger::Postgres(pool) => pay_late!(pool, claim, late),
    }
}

/// A service with an empty memory.
struct Service {
    routes: Router,
    app: App,
}

impl Service {
    fn new(ledger: &Ledger) -> Self {
        Self::with(ledger, ledger.store())
    }

    fn with(ledger: &Ledger, journal: SqlStore) -> Self {
        Self::of(Idempotency::builder(MemoryStore::new()).commit_to(journal).build(), ledger)
    }

    fn of(idempotency: Idempotency, ledger: &Ledger) -> Self {
        let app = App { idempotency, ledger: ledger.clone(), runs: Arc::default(), late: Late::default() };
        Self { routes: Router::new().route("/pay", post(pay)).with_state(app.clone()), app }
    }

    async fn pay(&self, key: &str, way: &str) -> Answer {
        send(&self.routes, "/pay", key, &format!("\"{way}\"")).await
    }

    fn runs(&self) -> usize {
        self.app.runs.load(SeqCst)
    }
}

/// A database of a test's own.
enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(String),
}

impl Place {
    /// As many connections as a service is given.
    async fn ledger(&self, connections: u32) -> Ledger {
        match self {
            Self::Sqlite(directory) => {
                let url = format!("sqlite://{}?mode=rwc", directory.path().join("ledger.db").display());
                let pool = SqlitePoolOptions::new().max_connections(connections).connect(&url).await;
                Ledger::of_sqlite(pool.expect("a file")).await
            }
            Self::Postgres(url) => {
                let pool = PgPoolOptions::new().max_connections(connections).connect(url).await;
                Ledger::of_postgres(pool.expect("a Postgres")).await
            }
        }
    }
}

/// Runs each scenario on both databases, on one thread, so that what it logs can be seen.
macro_rules! on_both_databases {
    ($($scenario:ident)*) => {
        mod sqlite {
            $(#[test]
            fn $scenario() {
                super::observe(|log| async {
                    super::$scenario(super::Place::Sqlite(support::directory::in_memory()), log).await;
                });
            })*
        }
        mod postgresql {
            $(#[test]
            fn $scenario() {
                super::observe(|log| async {
                    super::$scenario(super::Place::Postgres(super::Postgres::shared().new_url().await), log).await;
                });
            })*
        }
    };
}

fn observe<F: Future<Output = ()>>(scenario: impl FnOnce(Observed) -> F) {
    let observed = Observed::default();
    observed.during(scenario(observed.clone()));
}

on_both_databases! {
    a_commit_of_a_savepoint_is_refused
    a_record_in_a_savepoint_is_refused
    after_a_savepoint_was_refused_its_outer_transaction_can_be_committed
    a_pool_of_one_connection_is_enough_for_a_collision
    a_pool_of_one_connection_is_enough_for_a_commit_that_is_refused
    without_its_table_no_handler_runs_and_the_log_says_what_to_do
    expired_commits_are_deleted_in_the_background
    a_commit_error_has_the_services_own_form
    a_response_that_redis_lost_is_found_before_the_handler_runs
    a_reused_key_in_an_error_of_the_services_own_is_422_and_no_error_in_the_log
    a_commit_after_the_handler_has_answered_is_refused
    a_damaged_row_is_unreadable_and_nothing_is_committed
    an_error_of_the_database_is_logged_in_one_line_that_says_it_once
}

/// Events at a level, by what their line contains.
fn logged(log: &Observed, what: &str) -> Vec<String> {
    log.lines().into_iter().filter(|line| line.contains(what)).collect()
}

async fn a_commit_of_a_savepoint_is_refused(place: Place, log: Observed) {
    let ledger = place.ledger(3).await;
    let service = Service::new(&ledger);
    let refused = service.pay("k", "commit-savepoint").await;
    assert_eq!((refused.status, refused.replayed), (StatusCode::INTERNAL_SERVER_ERROR, false), "{refused:?}");
    assert_eq!(ledger.rows("a").await, 0);
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys").await, 0);
    assert_eq!(logged(&log, "give the outermost transaction to the claim").len(), 1, "{:?}", log.lines());
    // The store has kept nothing of it: a retry runs.
    let again = service.pay("k", "commit").await;
    assert_eq!((again.status, again.replayed, ledger.rows("a").await), (StatusCode::CREATED, false, 1));
}

async fn a_record_in_a_savepoint_is_refused(place: Place, log: Observed) {
    let ledger = place.ledger(3).await;
    let refused = Service::new(&ledger).pay("k", "record-savepoint").await;
    assert_eq!((refused.status, ledger.rows("a").await), (StatusCode::INTERNAL_SERVER_ERROR, 0), "{refused:?}");
    assert_eq!(logged(&log, "give the outermost transaction to the claim").len(), 1, "{:?}", log.lines());
}

async fn after_a_savepoint_was_refused_its_outer_transaction_can_be_committed(place: Place, _: Observed) {
    let ledger = place.ledger(3).await;
    let service = Service::new(&ledger);
    let first = service.pay("k", "commit-after-savepoint").await;
    assert_eq!((first.status, first.replayed, ledger.rows("a").await), (StatusCode::CREATED, false, 1), "{first:?}");
    let again = service.pay("k", "commit-after-savepoint").await;
    assert_eq!((again.status, again.replayed, ledger.rows("a").await), (StatusCode::CREATED, true, 1));
}

async fn a_pool_of_one_connection_is_enough_for_a_collision(place: Place, _: Observed) {
    let ledger = place.ledger(1).await;
    for way in ["record", "commit", "commit-over-a-connection"] {
        let first = Service::new(&ledger).pay(way, way).await;
        assert_eq!((first.status, first.replayed), (StatusCode::CREATED, false), "{way}: {first:?}");
        let rows = ledger.rows("a").await;
        // The store of this service does not know the key: the handler runs, and collides with the first run's row.
        let restarted = Service::new(&ledger);
        let start = Instant::now();
        let again = restarted.pay(way, way).await;
        assert_eq!((again.status, again.replayed), (StatusCode::CREATED, true), "{way}: {again:?}");
        assert!(start.elapsed() < Duration::from_secs(4), "{way}: waited for a second connection");
        assert_eq!((restarted.runs(), ledger.rows("a").await), (1, rows), "{way}");
    }
}

async fn a_pool_of_one_connection_is_enough_for_a_commit_that_is_refused(place: Place, _: Observed) {
    let ledger = place.ledger(1).await;
    let items = match &ledger {
        Ledger::Sqlite(_) => {
            "CREATE TABLE items (payment INTEGER REFERENCES payments (id) DEFERRABLE INITIALLY DEFERRED)"
        }
        Ledger::Postgres(_) => {
            "CREATE TABLE items (payment bigint REFERENCES payments (id) DEFERRABLE INITIALLY DEFERRED)"
        }
    };
    ledger.execute(items).await;
    let service = Service::new(&ledger);
    let start = Instant::now();
    let refused = service.pay("k", "commit-what-is-refused").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(4), "waited for a second connection");
    assert_eq!(ledger.number("SELECT COUNT(*) FROM items").await, 0);
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys").await, 0);
    // The key is free.
    assert_eq!(service.pay("k", "commit").await.status, StatusCode::CREATED);
}

async fn without_its_table_no_handler_runs_and_the_log_says_what_to_do(place: Place, log: Observed) {
    let ledger = place.ledger(3).await;
    ledger.execute("DROP TABLE idempotency_keys; DROP TABLE idempotency_keys_version").await;
    let service = Service::new(&ledger);
    for way in ["commit", "commit", "refuse"] {
        let answer = service.pay("k", way).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert!(answer.body.contains("#journal-unavailable"), "{answer:?}");
    }
    assert_eq!((service.runs(), ledger.rows("a").await), (0, 0), "a handler ran");
    let errors = logged(&log, "run `SqlStore::migrate`");
    assert_eq!(errors.len(), 1, "{:?}", log.lines());
    // As soon as the table is there the service goes on, without a restart.
    ledger.store().migrate().await.expect("migrates");
    let answer = loop {
        let answer = service.pay("k", "commit").await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((answer.status, answer.replayed, ledger.rows("a").await), (StatusCode::CREATED, false, 1));
}

async fn expired_commits_are_deleted_in_the_background(place: Place, log: Observed) {
    let ledger = place.ledger(3).await;
    Service::new(&ledger).pay("old", "commit").await;
    ledger
        .execute(match &ledger {
            Ledger::Sqlite(_) => "UPDATE idempotency_keys SET expires_at = 1",
            Ledger::Postgres(_) => "UPDATE idempotency_keys SET expires_at = now() - interval '1 ms'",
        })
        .await;
    let service = Service::with(&ledger, ledger.store().delete_expired_every(Duration::from_millis(10)));
    service.pay("new", "commit").await;
    while ledger.number("SELECT COUNT(*) FROM idempotency_keys").await > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(logged(&log, "were not deleted").is_empty(), "{:?}", log.lines());
}

async fn a_reused_key_in_an_error_of_the_services_own_is_422_and_no_error_in_the_log(place: Place, log: Observed) {
    let ledger = place.ledger(3).await;
    Service::new(&ledger).pay("k", "commit").await;
    let other = Service::new(&ledger).pay("k", "commit-over-a-connection").await;
    assert_eq!((other.status, ledger.rows("a").await), (StatusCode::UNPROCESSABLE_ENTITY, 1));
    assert!(other.body.contains("#key-reused"), "{other:?}");
    assert!(logged(&log, "was not committed").is_empty(), "{:?}", log.lines());
}

async fn a_commit_after_the_handler_has_answered_is_refused(place: Place, _: Observed) {
    let ledger = place.ledger(3).await;
    let in_the_database = Idempotency::builder(ledger.store().delete_expired_by_hand()).build();
    for service in [Service::new(&ledger), Service::of(in_the_database, &ledger)] {
        let first = service.pay("k", "commit-after-the-answer").await;
        assert_eq!((first.status, first.replayed), (StatusCode::ACCEPTED, false), "{first:?}");
        let late = &service.app.late;
        late.begin.notify_one();
        let came_of_it = loop {
            let came_of_it = late.came_of_it.lock().expect("nobody panics").clone();
            if came_of_it.len() == 3 {
                break came_of_it;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(came_of_it, ["Err(Ended)", "Err(Ended)", "Some(Ended)"]);
        assert_eq!(ledger.rows("a").await, 0);
        // Store and journal agree on the answer that the client got.
        let again = service.pay("k", "commit-after-the-answer").await;
        assert_eq!((again.status, again.replayed, &again.body), (StatusCode::ACCEPTED, true, &first.body));
    }
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys").await, 1, "the claim of the second service");
}

async fn a_damaged_row_is_unreadable_and_nothing_is_committed(place: Place, _: Observed) {
    let ledger = place.ledger(3).await;
    let mut damages = vec![
        "UPDATE idempotency_keys SET token = fingerprint",
        "UPDATE idempotency_keys SET fingerprint = token",
        "UPDATE idempotency_keys SET record = token",
        "UPDATE idempotency_keys SET record = NULL",
    ];
    damages.push(match &ledger {
        Ledger::Sqlite(_) => "UPDATE idempotency_keys SET expires_at = 'never'",
        Ledger::Postgres(_) => {
            "ALTER TABLE idempotency_keys DROP CONSTRAINT IF EXISTS idempotency_keys_expires_at_check; \
             UPDATE idempotency_keys SET expires_at = 'infinity'"
        }
    });
    for damage in damages {
        ledger.execute("DELETE FROM idempotency_keys; DELETE FROM payments").await;
        Service::new(&ledger).pay("k", "commit").await;
        ledger.execute(damage).await;
        for way in ["commit", "record", "refuse"] {
            let answer = Service::new(&ledger).pay("k", way).await;
            // The fingerprint is intact and belongs to another request. So 422 is also a right answer here.
            if answer.status == StatusCode::UNPROCESSABLE_ENTITY && damage.contains("SET record") && way != "commit" {
                continue;
            }
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{damage}, {way}: {answer:?}");
            assert!(answer.body.contains("#record-unreadable"), "{damage}, {way}: {answer:?}");
        }
        assert_eq!(ledger.rows("a").await, 1, "{damage}");
    }
}

async fn an_error_of_the_database_is_logged_in_one_line_that_says_it_once(place: Place, log: Observed) {
    let ledger = place.ledger(3).await;
    let service = Service::new(&ledger);
    service.pay("warm", "commit").await;
    ledger.execute("DROP TABLE idempotency_keys").await;
    service.pay("k", "commit").await;
    let lines = logged(&log, "was not committed");
    assert_eq!(lines.len(), 1, "{:?}", log.lines());
    let message = if matches!(ledger, Ledger::Sqlite(_)) { "no such table" } else { "does not exist" };
    assert_eq!(lines[0].matches(message).count(), 1, "{lines:?}");
}

async fn a_commit_error_has_the_services_own_form(place: Place, _: Observed) {
    let ledger = place.ledger(3).await;
    let builder = || Idempotency::builder(MemoryStore::new()).commit_to(ledger.store());
    let own = builder()
        .on_problem(|problem| (problem.kind().status(), format!("own: {}", problem.kind().slug())).into_response());
    let based = builder().problem_base("https://example.com/problems/");
    let services = [Service::of(own.build(), &ledger), Service::of(based.build(), &ledger)];
    for service in &services {
        service.pay("warm", "refuse").await;
    }
    ledger.execute("DROP TABLE idempotency_keys").await;
    let [own, based] = services;
    let answer = own.pay("k", "commit").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "own: journal-unavailable"));
    let answer = based.pay("k", "commit").await;
    assert!(answer.body.contains("https://example.com/problems/journal-unavailable"), "{answer:?}");
}

/// The store of the second service is empty, as after a loss of data.
async fn a_response_that_redis_lost_is_found_before_the_handler_runs(place: Place, log: Observed) {
    let ledger = place.ledger(3).await;
    let first = Service::new(&ledger).pay("k", "commit").await;
    let builder = Idempotency::builder(MemoryStore::new()).commit_to(ledger.store());
    let service = Service::of(builder.look_for_commits_first().build(), &ledger);
    for _ in 0..2 {
        let again = service.pay("k", "commit").await;
        assert_eq!((again.status, again.replayed, &again.body), (StatusCode::CREATED, true, &first.body));
    }
    assert_eq!((service.runs(), ledger.rows("a").await), (0, 1));
    // By default the handler runs, and its commit finds the row. That is no error.
    let service = Service::new(&ledger);
    let again = service.pay("k", "commit").await;
    assert_eq!((again.status, again.replayed, service.runs()), (StatusCode::CREATED, true, 1));
    let errors: Vec<_> = log.logged().into_iter().filter(|(level, _)| *level == tracing::Level::ERROR).collect();
    assert!(errors.is_empty(), "{errors:?}");
}
