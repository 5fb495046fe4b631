//! What an operator sees: the metrics and fields that `docs/operations.md` lists, without any key or body.

// Metrics are floats, but those here count in whole numbers.
#![allow(clippy::float_cmp)]

use std::{fs, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, State},
    http::{Method, Request, StatusCode},
    routing::post,
};
use futures_util::StreamExt as _;
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    Claim, Idempotency, IdempotencyBuilder, MemoryStore, Outage, RequestName, idempotent, store::StoreKey,
};
use support::{
    attempts::{attempt, rival, win},
    gate::Gate,
    observed::Observed,
    redis_server::RedisServer,
    redis_store::{self, PATIENCE},
    wait_until,
};
use tokio::time::sleep;
use tower::ServiceExt as _;

const KEY: &str = "key-that-nobody-may-see";
const BODY: &str = "body-that-nobody-may-see";

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    gate: Gate,
}

#[idempotent(ttl = "1h", lease = "3s")]
async fn charge(State(gate): State<Gate>, claim: Claim, body: String) -> (StatusCode, String) {
    match body.as_str() {
        "slow" => sleep(Duration::from_millis(300)).await,
        "held" => gate.passed().await,
        "held until its claim is lost" => {
            gate.passed().await;
            claim.lost().await;
        }
        "fails" => return (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        "panics" => panic!("as the test wants"),
        _ => {}
    }
    (StatusCode::CREATED, BODY.to_owned())
}

#[idempotent(ttl = "1h", lease = "3s", wait = "30s")]
async fn patient(State(gate): State<Gate>) -> StatusCode {
    gate.passed().await;
    StatusCode::CREATED
}

/// Its second chunk comes after the service's patience.
#[idempotent(ttl = "1h")]
async fn streamed() -> Body {
    let chunks = futures_util::stream::iter([0, 50]).then(async |pause| {
        sleep(Duration::from_millis(pause)).await;
        Ok::<_, std::convert::Infallible>(BODY)
    });
    Body::from_stream(chunks)
}

fn router(builder: IdempotencyBuilder) -> (Router, Idempotency) {
    let (router, idempotency, _) = gated_router(builder);
    (router, idempotency)
}

fn gated_router(builder: IdempotencyBuilder) -> (Router, Idempotency, Gate) {
    let (idempotency, gate) = (builder.namespace("observed").store_timeout(PATIENCE).build(), Gate::default());
    let app = App { idempotency: idempotency.clone(), gate: gate.clone() };
    let routes = Router::new().route("/charges", post(charge)).route("/patient", post(patient));
    let routes = routes.route("/streamed", post(streamed));
    (routes.with_state(app), idempotency, gate)
}

async fn send(router: &Router, path: &str, key: &str, body: &str) -> u16 {
    let request = Request::post(path).header("idempotency-key", key).body(Body::from(body.to_owned())).unwrap();
    router.clone().oneshot(request).await.unwrap().status().as_u16()
}

/// Waits until a metric has at least this value.
async fn becomes(observed: &Observed, name: &str, number: i64) {
    for _ in 0..3_000 {
        if observed.number(name) >= number {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("{name} is {} and not {number}", observed.number(name));
}

fn requests(observed: &Observed, outcome: &str) -> i64 {
    observed.number(&format!("idempotency_requests_total{{handler=operations::observing::charge,outcome={outcome}}}"))
}

fn attempts(observed: &Observed, end: &str) -> i64 {
    observed.number(&format!("idempotency_attempts_total{{handler=operations::observing::charge,end={end}}}"))
}

#[test]
fn requests_and_attempts_are_counted_by_what_came_of_them() {
    let observed = Observed::default();
    observed.during(async {
        let (router, idempotency) = router(Idempotency::builder(MemoryStore::new()));
        assert_eq!(send(&router, "/charges", KEY, BODY).await, 201);
        assert_eq!(send(&router, "/charges", KEY, BODY).await, 201);
        assert_eq!(send(&router, "/charges", KEY, "another").await, 422);
        assert_eq!(send(&router, "/charges", "failing", "fails").await, 500);
        let (first, second) =
            tokio::join!(send(&router, "/charges", "slow", "slow"), send(&router, "/charges", "slow", "slow"));
        assert_eq!((first, second), (201, 409));
        let panicking = tokio::spawn({
            let router = router.clone();
            async move { send(&router, "/charges", "panicking", "panics").await }
        });
        assert!(panicking.await.unwrap_err().is_panic());
        let again = tokio::spawn(async move { send(&router, "/charges", "panicking", "panics").await });
        assert!(again.await.unwrap_err().is_panic());
        idempotency.drain().await;
    });
    assert_eq!(requests(&observed, "ran"), 4, "{:#?}", observed.numbers());
    assert_eq!(requests(&observed, "recovered"), 1);
    assert_eq!(requests(&observed, "replayed"), 1);
    assert_eq!(requests(&observed, "key-reused"), 1);
    assert_eq!(requests(&observed, "in-flight"), 1);
    assert_eq!(observed.number("idempotency_takeovers_total{handler=operations::observing::charge}"), 1);
    assert_eq!((attempts(&observed, "stored"), attempts(&observed, "freed")), (2, 1));
    assert_eq!(attempts(&observed, "abandoned"), 2);
    assert_eq!(observed.number("idempotency_store_seconds{operation=complete,result=ok}"), 2);
    assert!(observed.number("idempotency_store_seconds{operation=claim,result=ok}") >= 8);
    // Every increase has been followed by a decrease in the end.
    assert_eq!(observed.numbers().get("idempotency_in_flight"), Some(&0));
}

#[test]
fn neither_key_nor_body_is_seen_by_anybody() {
    let observed = Observed::default();
    observed.during(async {
        let server = RedisServer::start();
        let store = redis_store::patient().connect(&server.url()).await.unwrap();
        let (router, idempotency) = router(Idempotency::builder(store));
        for body in [BODY, BODY, "another"] {
            send(&router, "/charges", KEY, body).await;
        }
        drop(server);
        send(&router, "/charges", KEY, BODY).await;
        idempotency.drain().await;
    });
    let seen = format!("{:?} {:?}", observed.lines(), observed.numbers());
    assert!(seen.contains("store-unavailable") && seen.contains("key-reused"), "{seen}");
    assert!(!seen.contains("nobody-may-see"), "{seen}");
}

#[test]
fn a_span_has_the_outcome_the_attempt_and_what_is_left_of_a_lease() {
    let observed = Observed::default();
    observed.during(async {
        let (router, _) = router(Idempotency::builder(MemoryStore::new()));
        tokio::join!(send(&router, "/charges", "slow", "slow"), send(&router, "/charges", "slow", "slow"));
    });
    let lines = observed.lines();
    let has = |what: &str| assert!(lines.iter().any(|line| line.contains(what)), "{what} is not in {lines:#?}");
    has("idempotent idempotency.handler=operations::observing::charge");
    has("recorded idempotency.outcome=ran");
    has("recorded idempotency.fence=");
    has("recorded idempotency.recovering=false");
    has("recorded idempotency.outcome=in-flight");
    has("recorded idempotency.lease_left_ms=");
}

mod refunds {
    #[idempotent_runtime::idempotent(ttl = "1h", required = false)]
    pub(super) async fn charge() {}
}

#[test]
fn handlers_of_one_name_are_told_apart_by_their_modules() {
    let observed = Observed::default();
    observed.during(async {
        let app = App { idempotency: Idempotency::new(MemoryStore::new()), gate: Gate::default() };
        let router = Router::new().route("/charges", post(charge)).route("/refunds", post(refunds::charge));
        let router = router.with_state(app);
        assert_eq!(
            (send(&router, "/charges", KEY, BODY).await, send(&router, "/refunds", KEY, BODY).await),
            (201, 200)
        );
    });
    assert_eq!(requests(&observed, "ran"), 1, "{:#?}", observed.numbers());
    assert_eq!(
        observed.number("idempotency_requests_total{handler=operations::observing::refunds::charge,outcome=ran}"),
        1
    );
}

#[test]
fn a_digest_ties_spans_and_warnings_to_the_request_without_its_key() {
    let observed = Observed::default();
    let digest = observed.during(async {
        let (router, idempotency) = router(Idempotency::builder(MemoryStore::new()));
        for _ in 0..2 {
            let router = router.clone();
            // The second request takes over from the first.
            let panicking = tokio::spawn(async move { send(&router, "/charges", KEY, "panics").await });
            assert!(panicking.await.unwrap_err().is_panic());
        }
        idempotency.digest(&RequestName::new(Method::POST, "/charges", KEY))
    });
    assert_eq!(digest.len(), 16);
    let lines = observed.lines();
    let named: Vec<_> = lines.iter().filter(|line| line.contains(&format!("idempotency.digest={digest}"))).collect();
    for what in ["recorded", "takeover", "abandoned"] {
        assert!(named.iter().any(|line| line.contains(what)), "{what} has no digest: {lines:#?}");
    }
    assert!(!format!("{lines:?}").contains("nobody-may-see"), "{lines:#?}");
}

#[test]
fn a_request_without_a_key_is_none_of_the_requests_with_one() {
    let observed = Observed::default();
    observed.during(async {
        let (router, _) = router(Idempotency::builder(MemoryStore::new()));
        let request = || Request::post("/charges").body(Body::empty()).unwrap();
        assert_eq!(router.clone().oneshot(request()).await.unwrap().status(), 400);
        assert_eq!(send(&router, "/charges", "k, k", BODY).await, 400);
    });
    assert_eq!(observed.number("idempotency_turned_away_total{outcome=key-missing}"), 1, "{:#?}", observed.numbers());
    assert_eq!(observed.number("idempotency_turned_away_total{outcome=key-invalid}"), 1);
    assert!(!observed.numbers().iter().any(|(name, &count)| name.starts_with("idempotency_requests") && count > 0));
}

#[test]
fn a_run_without_a_key_is_counted_by_its_handler() {
    let observed = Observed::default();
    observed.during(async {
        let app = App { idempotency: Idempotency::new(MemoryStore::new()), gate: Gate::default() };
        let router = Router::new().route("/refunds", post(refunds::charge)).with_state(app);
        let request = Request::post("/refunds").body(Body::empty()).unwrap();
        assert_eq!(router.clone().oneshot(request).await.unwrap().status(), 200);
        assert_eq!(send(&router, "/refunds", KEY, BODY).await, 200);
    });
    assert_eq!(observed.number("idempotency_unkeyed_total{handler=operations::observing::refunds::charge}"), 1);
}

#[test]
fn limits_are_reported_beside_what_they_limit() {
    let observed = Observed::default();
    observed.during(async {
        let store = MemoryStore::builder().max_bytes(1_000_000).build();
        let _ = Idempotency::builder(store).max_in_flight(50).build();
    });
    assert_eq!(observed.number("idempotency_in_flight_limit"), 50);
    assert_eq!(observed.number("idempotency_memory_bytes_limit"), 1_000_000);
}

#[test]
fn a_response_that_is_too_large_is_counted_at_once_or_when_its_end_does_not_come() {
    let observed = Observed::default();
    observed.during(async {
        let small = Idempotency::builder(MemoryStore::new()).max_response(10);
        let (router, _) = router(small.response_patience(Duration::from_millis(1)));
        assert_eq!(send(&router, "/charges", "at once", BODY).await, 201);
        let streamed = Request::post("/streamed").header("idempotency-key", "k").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(streamed).await.unwrap();
        assert_eq!(axum::body::to_bytes(response.into_body(), 1_000).await.unwrap().len(), 2 * BODY.len());
    });
    let counted = |handler| observed.number(&format!("idempotency_responses_too_large_total{{handler={handler}}}"));
    assert_eq!(counted("operations::observing::charge"), 1, "{:#?}", observed.numbers());
    assert_eq!(counted("operations::observing::streamed"), 1);
}

#[test]
fn two_services_of_one_process_are_told_apart_by_their_namespaces() {
    let observed = Observed::default();
    observed.during(async {
        for (namespace, limit) in [("orders", 5), ("refunds", 7)] {
            let builder = Idempotency::builder(MemoryStore::new()).namespace(namespace).max_in_flight(limit);
            let app = App { idempotency: builder.build(), gate: Gate::default() };
            let router = Router::new().route("/charges", post(charge)).with_state(app);
            assert_eq!(send(&router, "/charges", KEY, BODY).await, 201);
        }
    });
    for (namespace, limit) in [("orders", 5), ("refunds", 7)] {
        let labels = format!("handler=operations::observing::charge,namespace={namespace}");
        assert_eq!(observed.number(&format!("idempotency_requests_total{{{labels},outcome=ran}}")), 1);
        assert_eq!(observed.number(&format!("idempotency_in_flight_limit{{namespace={namespace}}}")), limit);
    }
    assert_eq!(requests(&observed, "ran"), 2, "{:#?}", observed.numbers());
}

mod open {
    #[idempotent_runtime::idempotent(ttl = "1h")]
    pub(super) async fn to_anybody() {}

    #[idempotent_runtime::idempotent(ttl = "1h", fingerprint = "none")]
    pub(super) async fn to_anybody_with_the_key() {}
}

/// Nothing tells its callers apart.
#[test]
fn a_handler_that_gets_a_request_without_credentials_is_named_once_in_the_log() {
    let observed = Observed::default();
    observed.during(async {
        let app = App { idempotency: Idempotency::new(MemoryStore::new()), gate: Gate::default() };
        let router = Router::new()
            .route("/", post(open::to_anybody))
            .route("/key", post(open::to_anybody_with_the_key))
            .with_state(app);
        let authorized = Request::post("/").header("idempotency-key", "a").header("authorization", "Bearer t");
        let authorized = authorized.body(Body::empty()).unwrap();
        assert_eq!(router.clone().oneshot(authorized).await.unwrap().status(), 200);
        assert!(observed.logged().is_empty(), "by now");
        for path in ["/", "/", "/key"] {
            assert_eq!(send(&router, path, KEY, BODY).await, 200);
        }
    });
    let logged = observed.logged();
    assert!(
        matches!(&logged[..], [(_, line)] if line.contains("operations::observing::open::to_anybody")),
        "{logged:?}"
    );
}

#[test]
fn waiting_duplicates_are_counted_while_they_wait() {
    let observed = Observed::default();
    let seen = observed.clone();
    observed.during(async move {
        let (router, _, gate) = gated_router(Idempotency::builder(MemoryStore::new()));
        let look = async {
            becomes(&seen, "idempotency_waiters", 2).await;
            assert_eq!(seen.number("idempotency_in_flight"), 3);
            gate.open();
        };
        let send = || send(&router, "/patient", "k", "b");
        let (first, second, third, ()) = tokio::join!(send(), send(), send(), look);
        assert_eq!((first, second, third), (201, 201, 201));
    });
    assert_eq!(observed.number("idempotency_waiters"), 0);
    assert_eq!(observed.number("idempotency_wait_seconds"), 2);
    assert_eq!(observed.number("idempotency_handler_seconds{handler=operations::observing::patient}"), 1);
}

#[test]
fn an_unprotected_run_is_counted() {
    let observed = Observed::default();
    observed.during(async {
        let mut server = RedisServer::start();
        let store = redis_store::patient().connect(&server.url()).await.unwrap();
        let (router, _) = router(Idempotency::builder(store).outage(Outage::RunUnprotected));
        server.kill();
        assert_eq!(send(&router, "/charges", KEY, BODY).await, 201);
    });
    assert_eq!(requests(&observed, "unprotected"), 1, "{:#?}", observed.numbers());
}

/// A claim is taken over while its handler runs.
#[test]
fn a_lost_lease_and_a_fenced_response_are_counted() {
    // The thread of the heartbeats notices the loss.
    let (observed, heartbeats) = (Observed::default(), Observed::elsewhere());
    observed.during(async {
        let server = RedisServer::start();
        let store = redis_store::patient().connect(&server.url()).await.unwrap();
        let (router, idempotency, gate) = gated_router(Idempotency::builder(store));
        let first = tokio::spawn(async move { send(&router, "/charges", "k", "held until its claim is lost").await });
        let key = its_key(&server).await;
        // The record of another attempt replaces this one in one step, so that no renewal of the lease finds the key
        // free.
        let thief = redis_store::patient().connect(&server.url()).await.unwrap();
        let mut other = attempt();
        other.key = StoreKey::new("elsewhere");
        win(&thief, &rival(&other)).await;
        server.set(&["RENAME", "elsewhere", &key]);
        gate.open();
        assert_eq!(first.await.unwrap(), 201);
        idempotency.drain().await;
    });
    assert_eq!(attempts(&observed, "fenced"), 1, "{:#?}", observed.numbers());
    assert!(heartbeats.number("idempotency_lost_leases_total") >= 1, "{:#?}", heartbeats.numbers());
}

/// The key of the one claim that is in Redis.
async fn its_key(server: &RedisServer) -> String {
    for _ in 0..3_000 {
        let keys = server.cli(&["--scan"]);
        if !keys.trim().is_empty() {
            return keys.trim().to_owned();
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("no claim came");
}

const LOST: &str = "the store had lost the claim";

#[test]
fn a_claim_that_the_store_lost_is_counted_and_logged_when_it_is_created_again() {
    let (observed, heartbeats) = (Observed::default(), Observed::elsewhere());
    let counts = heartbeats.clone();
    let digest = observed.during(async move {
        let server = RedisServer::start();
        let store = redis_store::patient().connect(&server.url()).await.unwrap();
        let (router, idempotency, gate) = gated_router(Idempotency::builder(store));
        let first = tokio::spawn(async move { send(&router, "/charges", KEY, "held").await });
        its_key(&server).await;
        server.set(&["FLUSHALL"]);
        becomes(&counts, "idempotency_recreated_claims_total", 1).await;
        // It is logged after it was counted.
        support::wait_until("the line", || counts.lines().iter().any(|line| line.contains(LOST)));
        gate.open();
        assert_eq!(first.await.unwrap(), 201);
        idempotency.digest(&RequestName::new(Method::POST, "/charges", KEY))
    });
    assert_eq!(attempts(&observed, "stored"), 1, "{:#?}", observed.numbers());
    let lines = heartbeats.lines();
    let logged: Vec<_> = lines.iter().filter(|line| line.contains(LOST)).collect();
    assert!(logged.iter().filter(|line| line.contains(&digest)).count() == 1, "{logged:#?}");
}

#[test]
fn a_restart_of_redis_is_noticed() {
    let observed = Observed::default();
    let counts = observed.clone();
    observed.during(async move {
        let mut server = RedisServer::start();
        // A new connection lets the watcher look at once.
        let store =
            redis_store::patient().watch_every(Duration::from_secs(3_600)).connect(&server.url()).await.unwrap();
        server.restart();
        // The store notices the lost connection even when nobody uses it.
        becomes(&counts, "idempotency_redis_restarts_total", 1).await;
        assert!(counts.number("idempotency_redis_lost_total") >= 1);
        assert!(counts.number("idempotency_redis_connected_total") >= 1);
        win(&store, &attempt()).await;
    });
    assert!(observed.lines().iter().any(|line| line.contains("another Redis process answers")));
}

#[test]
fn a_broken_connection_to_the_same_process_is_no_restart() {
    let observed = Observed::default();
    let counts = observed.clone();
    observed.during(async move {
        let server = RedisServer::start();
        let store = redis_store::patient().watch_every(Duration::from_millis(50)).connect(&server.url()).await.unwrap();
        server.set(&["CLIENT", "KILL", "TYPE", "normal"]);
        becomes(&counts, "idempotency_redis_connected_total", 1).await;
        // The watcher asks the server over the new connection. Each reading of the counter is such a call too.
        let asked = server.calls("info");
        let mut ours = 0;
        while server.calls("info") < asked + ours + 3 {
            ours += 1;
            sleep(Duration::from_millis(20)).await;
        }
        win(&store, &attempt()).await;
    });
    assert_eq!(observed.number("idempotency_redis_restarts_total"), 0);
}

#[test]
fn evicted_records_are_noticed() {
    let observed = Observed::default();
    let counts = observed.clone();
    observed.during(async move {
        let server = RedisServer::start_with(&["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"]);
        let builder = redis_store::patient().allow_eviction().watch_every(Duration::from_millis(50));
        let store = builder.connect(&server.url()).await.unwrap();
        for _ in 0..60 {
            let claimed = attempt();
            let fence = win(&store, &claimed).await;
            store.complete(&claimed, fence, vec![b'x'; 100_000].into()).await.unwrap();
        }
        becomes(&counts, "idempotency_redis_evicted_total", 1).await;
    });
    assert!(observed.lines().iter().any(|line| line.contains("Redis evicted records")));
}

#[test]
fn the_watcher_ends_with_its_store() {
    Observed::default().during(async {
        let server = RedisServer::start();
        let store = redis_store::patient().watch_every(Duration::from_millis(10)).connect(&server.url()).await.unwrap();
        let clients = || server.cli(&["CLIENT", "LIST"]).lines().count();
        wait_until("the store's connection and that of the question to be there", || clients() == 2);
        drop(store);
        for _ in 0..1_000 {
            if clients() == 1 {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("the connection is still there");
    });
}

#[test]
fn what_an_operator_should_change_is_said_at_the_start() {
    let observed = Observed::default();
    observed.during(async {
        let server = RedisServer::start();
        let shared = redis_store::patient().connect(&server.url()).await.unwrap();
        let _ = (Idempotency::new(shared), Idempotency::new(MemoryStore::new()));
    });
    let lines = observed.lines();
    for (warning, times) in [("append-only", 1), ("no replica", 1), ("namespace is the default", 1)] {
        assert_eq!(lines.iter().filter(|line| line.contains(warning)).count(), times, "{warning}: {lines:#?}");
    }
}

/// The documentation and the code name the same metrics.
#[test]
fn the_documentation_lists_every_number_and_no_other() {
    let code = ["mod", "metrics", "described"]
        .map(|file| fs::read_to_string(format!("idempotent-runtime/src/telemetry/{file}.rs")).unwrap())
        .concat();
    let documentation = fs::read_to_string("docs/operations.md").unwrap();
    let names = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words
            .filter(|word| word.starts_with("idempotency_") && *word != "idempotency_")
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(&code), names(&documentation));
    for field in ["handler", "outcome", "event", "fence", "recovering", "lease_left_ms", "first_traceparent"] {
        let field = format!("idempotency.{field}");
        assert!(code.contains(&field) && documentation.contains(&field), "{field}");
    }
}
