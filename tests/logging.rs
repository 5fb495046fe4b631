//! Checks the log at the default level, `info`: it has a line for a fault that an operator has to look at, and none for
//! a refused request.

use std::{sync::LazyLock, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{FromRef, State},
    http::{Request, StatusCode},
    routing::post,
};
use idempotent_runtime::{
    Claim, CommitError, Committed, Idempotency, IdempotencyBuilder, MemoryStore, Outage, idempotent,
};
use sqlx::SqlitePool;
use support::{gate::Gate, ledger::Ledger, observed::Observed, redis_server::RedisServer, redis_store};
use tower::ServiceExt as _;
use tracing::Level;

const MANY: usize = 30;

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    gate: Gate,
}

#[idempotent(ttl = "1h", lease = "60s")]
async fn charge(State(gate): State<Gate>, body: String) -> (StatusCode, String) {
    match body.as_str() {
        "held" => gate.passed().await,
        "panics" => panic!("as the test wants"),
        _ => {}
    }
    (StatusCode::CREATED, body)
}

#[idempotent(ttl = "1h", key = "uuidv7")]
async fn dated() {}

#[idempotent(ttl = "1h", takeover = "refuse")]
async fn once(body: String) -> StatusCode {
    assert!(body.is_empty(), "as the test wants");
    StatusCode::CREATED
}

fn router(builder: IdempotencyBuilder) -> Router {
    gated(builder, Gate::default())
}

fn gated(builder: IdempotencyBuilder, gate: Gate) -> Router {
    let app = App { idempotency: builder.namespace("logging").build(), gate };
    let routes = Router::new().route("/charges", post(charge)).route("/dated", post(dated)).route("/once", post(once));
    routes.with_state(app)
}

async fn send(router: &Router, path: &str, key: Option<&str>, body: &str) -> u16 {
    let request = Request::post(path).header("authorization", "Bearer token");
    let request = match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    };
    let router = router.clone();
    let request = request.body(Body::from(body.to_owned())).unwrap();
    // Runs in its own task, because the handler may panic. The result is then 0.
    tokio::spawn(router.oneshot(request)).await.map_or(0, |response| response.unwrap().status().as_u16())
}

async fn many(router: &Router, path: &str, key: Option<&str>, body: &str, status: u16) {
    for _ in 0..MANY {
        assert_eq!(send(router, path, key, body).await, status);
    }
}

fn with(observed: &Observed, message: &str) -> Vec<(Level, String)> {
    observed.logged().into_iter().filter(|(_, line)| line.contains(message)).collect()
}

/// The log of every kind of refusal. It is written before the panics of
/// [`what_is_worth_waking_up_for_is_a_line_and_ten_a_minute_at_most`], because the whole process may write ten such lines a
/// minute.
static REFUSED: LazyLock<Vec<(Level, String)>> = LazyLock::new(|| {
    let observed = Observed::default();
    let seen = observed.clone();
    observed.during(async move {
        let store = MemoryStore::builder().max_records(3).build();
        let gate = Gate::default();
        let routes = gated(Idempotency::builder(store).max_request(1_000).max_response(1_000), gate.clone());
        many(&routes, "/charges", None, "", 400).await; // key-missing
        many(&routes, "/charges", Some("k, k"), "", 400).await; // key-invalid
        many(&routes, "/dated", Some("0190163d-8694-739b-aea5-966c26f8ad91"), "", 400).await; // key-expired
        many(&routes, "/charges", Some("k"), &"x".repeat(2_000), 413).await; // request-too-large
        assert_eq!(send(&routes, "/charges", Some("k"), "body").await, 201);
        many(&routes, "/charges", Some("k"), "another", 422).await; // key-reused
        assert_eq!(send(&routes, "/charges", Some("large"), &"x".repeat(900)).await, 201);
        let running = send(&routes, "/charges", Some("held"), "held");
        // This part runs second, because the runtime polls the two futures in order.
        let refused = async {
            many(&routes, "/charges", Some("held"), "held", 409).await; // in-flight
            gate.open();
        };
        assert_eq!(tokio::join!(running, refused).0, 201);
        let routes = router(Idempotency::builder(MemoryStore::new()).max_in_flight(0));
        many(&routes, "/charges", Some("k"), "", 503).await; // too-many-in-flight
        assert_eq!(seen.logged(), [], "by now");
        let routes = router(Idempotency::builder(MemoryStore::new()).max_response(100));
        assert_eq!(send(&routes, "/charges", Some("large"), &"x".repeat(999)).await, 201);
        many(&routes, "/charges", Some("large"), &"x".repeat(999), 409).await; // not-replayable

        let routes = router(Idempotency::builder(MemoryStore::new()));
        assert_eq!(send(&routes, "/once", Some("k"), "panics").await, 0);
        many(&routes, "/once", Some("k"), "panics", 409).await; // outcome-unknown
    });
    observed.logged()
});

#[test]
fn a_refused_request_logs_nothing() {
    let logged = &*REFUSED;
    let (large, panic) = ("a response is larger than max_response", "abandoned");
    let [(Level::WARN, first), (Level::WARN, second)] = &logged[..] else { panic!("two lines: {logged:#?}") };
    assert!(first.contains(large) && second.contains(panic), "{logged:#?}");
}

#[test]
fn a_store_that_is_full_is_one_line_and_not_one_a_request() {
    let observed = Observed::default();
    observed.during(async {
        let routes = router(Idempotency::builder(MemoryStore::builder().max_records(0).build()));
        many(&routes, "/charges", Some("k"), "", 503).await;
    });
    let logged = observed.logged();
    assert!(matches!(&logged[..], [(Level::WARN, line)] if line.contains("the store is full")), "{logged:#?}");
}

#[test]
fn an_outage_of_the_store_is_one_line_and_not_one_a_request() {
    let observed = Observed::default();
    observed.during(async {
        let mut server = RedisServer::start();
        let store = redis_store::patient().connect(&server.url()).await.unwrap();
        let routes = router(Idempotency::builder(store).store_timeout(Duration::from_millis(100)));
        server.kill();
        many(&routes, "/charges", Some("k"), "", 503).await;
    });
    // There is one line for each kind of failure: the connection broke, and later it could not be made.
    let claims = with(&observed, "store unavailable, requests refused");
    assert!((1..=3).contains(&claims.len()), "{claims:#?}");
    assert!(observed.logged().len() <= 10, "{:#?}", observed.logged());
}

#[test]
fn what_is_worth_waking_up_for_is_a_line_and_ten_a_minute_at_most() {
    LazyLock::force(&REFUSED);
    let observed = Observed::default();
    observed.during(async {
        let routes = router(Idempotency::builder(MemoryStore::new()));
        assert_eq!(send(&routes, "/charges", Some("k"), "panics").await, 0);
    });
    assert_eq!(with(&observed, "abandoned").len(), 1, "{:#?}", observed.logged());
    observed.during(async {
        let routes = router(Idempotency::builder(MemoryStore::new()));
        for _ in 0..MANY {
            assert_eq!(send(&routes, "/charges", Some("k"), "panics").await, 0);
        }
    });
    // Other tests of this program may have used up a part of the ten.
    assert!(with(&observed, "abandoned").len() <= 10, "{:#?}", observed.logged());
    let takeovers = with(&observed, "idempotency.event=takeover");
    assert!((1..=10).contains(&takeovers.len()), "{takeovers:#?}");
    // Nothing is lost: the other events are logged at `debug`.
    let lines = observed.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("idempotency.event=takeover")).count(), MANY - 1);
}

#[test]
fn a_run_without_a_claim_and_an_unreadable_record_are_lines() {
    let observed = Observed::default();
    observed.during(async {
        let mut server = RedisServer::start();
        let store = redis_store::patient().connect(&server.url()).await.unwrap();
        let routes =
            router(Idempotency::builder(store).store_timeout(Duration::from_secs(10)).outage(Outage::RunUnprotected));
        assert_eq!(send(&routes, "/charges", Some("k"), "").await, 201);
        let key = server.cli(&["--scan"]);
        server.set(&["SET", key.trim(), "nonsense"]);
        many(&routes, "/charges", Some("k"), "", 500).await;
        server.kill();
        assert_eq!(send(&routes, "/charges", Some("k"), "").await, 201);
    });
    let unprotected = with(&observed, "idempotency.outcome=unprotected");
    assert!(matches!(&unprotected[..], [(Level::WARN, _)]), "{:#?}", observed.logged());
    let unreadable = with(&observed, "a stored record cannot be read");
    assert_eq!(unreadable.len(), 10, "{:#?}", observed.logged());
    assert!(unreadable.iter().all(|(level, _)| *level == Level::ERROR));
}

/// Begins a transaction as `sqlx` does by default, reads, and writes after another connection has written.
#[idempotent(ttl = "1h", store = extension)]
async fn read_first(Extension(db): Extension<SqlitePool>, claim: Claim) -> Result<Committed, CommitError> {
    let pay = "INSERT INTO payments (reference, amount) VALUES ('a', 1)";
    let mut tx = db.begin().await?;
    sqlx::query("SELECT COUNT(*) FROM payments").fetch_one(&mut *tx).await?;
    sqlx::query(pay).execute(&db).await?;
    sqlx::query(pay).execute(&mut *tx).await?;
    claim.commit(tx, StatusCode::CREATED).await
}

#[test]
fn a_sqlite_transaction_that_was_overtaken_is_a_warning_that_says_how_to_begin() {
    let observed = Observed::default();
    observed.during(async {
        let directory = support::directory::in_memory();
        let ledger = Ledger::connect(&format!("sqlite://{}", directory.path().join("l.db").display())).await;
        let Ledger::Sqlite(pool) = &ledger else { unreachable!("by its URL") };
        let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(ledger.store()).build();
        let routes =
            Router::new().route("/", post(read_first)).layer(Extension(idempotency)).layer(Extension(pool.clone()));
        assert_eq!(send(&routes, "/", Some("k"), "").await, 503);
    });
    let logged = observed.logged();
    assert!(
        matches!(&logged[..], [(Level::WARN, line)] if line.contains("pool.begin_with(\"BEGIN IMMEDIATE\")")),
        "{logged:#?}"
    );
}

#[test]
fn a_drain_says_what_it_waits_for_and_what_was_left_when_it_was_given_up() {
    let observed = Observed::default();
    observed.during(async {
        let gate = Gate::default();
        let idempotency = Idempotency::builder(MemoryStore::new()).namespace("draining").build();
        let app = App { idempotency: idempotency.clone(), gate: gate.clone() };
        let routes = Router::new().route("/charges", post(charge)).with_state(app);
        idempotency.drain().await;
        let request = Request::post("/charges").header("idempotency-key", "k").header("authorization", "Bearer token");
        let running = routes.oneshot(request.body(Body::from("held")).unwrap());
        // This part runs second, because `join!` polls the two futures in order.
        let draining = async {
            let given_up = tokio::time::timeout(Duration::ZERO, idempotency.drain()).await;
            assert!(given_up.is_err());
            gate.open();
            idempotency.drain().await;
        };
        assert_eq!(tokio::join!(running, draining).0.unwrap().status(), 201);
    });
    let logged = observed.logged();
    let said: Vec<_> = logged.iter().map(|(level, line)| (*level, line.trim_start())).collect();
    let waits = "message=drain waits for requests in flight, and for responses and claims whose end is not stored yet \
                 requests=1 background=0";
    let given_up = "message=drain was given up, and these requests and this work in the background are not finished \
                    requests=1 background=0";
    let ended = "message=drain has ended: nothing is in flight";
    assert_eq!(said, [(Level::INFO, waits), (Level::WARN, given_up), (Level::INFO, waits), (Level::INFO, ended)]);
}

/// A filter at `warn` leaves out the span, which has them too.
#[test]
fn a_line_about_one_request_says_handler_digest_and_fence() {
    let observed = Observed::default();
    observed.during(async {
        let routes = router(Idempotency::builder(MemoryStore::new()));
        assert_eq!(send(&routes, "/charges", Some("told"), "panics").await, 0);
    });
    let lines = observed.lines();
    let line = lines.iter().find(|line| line.contains("idempotency.event=abandoned")).expect("a line");
    for field in ["handler=logging::charge ", "digest=", "fence="] {
        assert!(line.contains(&format!(" idempotency.{field}")), "{field}: {line}");
    }
}
