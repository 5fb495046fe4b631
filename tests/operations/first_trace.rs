//! A replay leads to the trace of the first run: in its span, and for outer layers.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::post,
};
use idempotent_runtime::{
    Claim, CommitError, Committed, EncryptionKeys, FirstTraceparent, Idempotency, MemoryStore, RequestName, SqlStore,
    idempotent,
};
use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};
use support::{
    observed::Observed,
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

const FIRST: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const RETRY: &str = "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01";

#[idempotent(ttl = "1h", replay = "all")]
async fn pay() -> (StatusCode, HeaderMap, &'static str) {
    // A handler's own header of this name is not stored either.
    let headers = HeaderMap::from_iter([("traceparent".parse().unwrap(), HeaderValue::from_static(RETRY))]);
    (StatusCode::CREATED, headers, "paid")
}

/// Passes on the response of another protected handler of this process.
#[idempotent(ttl = "1h")]
async fn forward(State(idempotency): State<Idempotency>) -> Response {
    inner(idempotency).await
}

async fn inner(idempotency: Idempotency) -> Response {
    let inner = Router::new().route("/", post(pay)).with_state(idempotency);
    let request = Request::post("/").header("idempotency-key", "inner").header("traceparent", FIRST);
    let Ok(response) = inner.oneshot(request.body(Body::empty()).unwrap()).await;
    response
}

#[derive(Clone, FromRef)]
struct Committing {
    idempotency: Idempotency,
    db: SqlitePool,
}

/// The same, and commits it.
#[idempotent(ttl = "1h")]
async fn commit(State(app): State<Committing>, claim: Claim) -> Result<Committed, CommitError> {
    let response = inner(app.idempotency).await;
    let tx = app.db.begin().await?;
    claim.commit(tx, response).await
}

/// A service that commits in a database beside its store.
async fn committing() -> (Committing, String, Links) {
    let db = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    let database = SqlStore::sqlite(db.clone()).migrated().await.unwrap();
    let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(database).build();
    let app = Committing { idempotency, db };
    let (url, links) = listen(Router::new().route("/payments", post(commit)).with_state(app.clone())).await;
    (app, url, links)
}

/// The traces that an outer layer was told of.
type Links = Arc<Mutex<Vec<String>>>;

async fn link(State(links): State<Links>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(first) = response.extensions().get::<FirstTraceparent>() {
        links.lock().unwrap().push(first.as_str().to_owned());
    }
    response
}

/// The address of a real server, and what its outer layer was told.
async fn serve(idempotency: Idempotency) -> (String, Links) {
    listen(Router::new().route("/payments", post(pay)).route("/forward", post(forward)).with_state(idempotency)).await
}

async fn listen(router: Router) -> (String, Links) {
    let links = Links::default();
    let router = router.layer(from_fn_with_state(links.clone(), link));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/payments", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, links)
}

async fn send(url: &str, key: &str, traceparent: Option<&str>) -> reqwest::Response {
    let request = reqwest::Client::new().post(url).header("idempotency-key", key);
    let request = match traceparent {
        Some(traceparent) => request.header("traceparent", traceparent),
        None => request,
    };
    request.send().await.unwrap()
}

fn first_traces(observed: &Observed) -> Vec<String> {
    let lines = observed.lines().into_iter().filter(|line| line.starts_with("recorded idempotency.first_traceparent="));
    lines.map(|line| line.split_once('=').unwrap().1.to_owned()).collect()
}

#[test]
fn a_replay_tells_the_span_and_an_outer_layer_of_the_first_trace_and_the_client_nothing() {
    let observed = Observed::default();
    observed.during(async {
        let server = RedisServer::start();
        let store = patient().connect(&server.url()).await.unwrap();
        let keys = EncryptionKeys::new([(1, [7; 32])]);
        let (url, links) =
            serve(Idempotency::builder(store).namespace("traced").store_timeout(PATIENCE).encrypt(keys).build()).await;
        assert!(send(&url, "k", Some(FIRST)).await.headers().get("idempotent-replayed").is_none());
        assert!(links.lock().unwrap().is_empty(), "a first run is no replay");
        let replay = send(&url, "k", Some(RETRY)).await;
        assert_eq!(replay.headers()["idempotent-replayed"], "true");
        assert!(replay.headers().get("traceparent").is_none(), "{:?}", replay.headers());
        assert_eq!(replay.text().await.unwrap(), "paid");
        assert_eq!(*links.lock().unwrap(), [FIRST]);
    });
    assert_eq!(first_traces(&observed), [FIRST]);
}

#[test]
fn a_first_run_that_passes_a_replay_on_has_no_trace_of_it() {
    let observed = Observed::default();
    observed.during(async {
        let (url, links) = serve(Idempotency::new(MemoryStore::new())).await;
        let url = url.replace("payments", "forward");
        for key in ["one", "another"] {
            assert!(send(&url, key, None).await.headers().get("idempotent-replayed").is_none(), "{key}");
        }
        assert_eq!(links.lock().unwrap().len(), 0);
    });
}

#[test]
fn a_first_run_that_commits_a_replay_it_passes_on_is_sent_as_no_replay() {
    let observed = Observed::default();
    observed.during(async {
        let (_app, url, links) = committing().await;
        for key in ["one", "another"] {
            let first = send(&url, key, Some(RETRY)).await;
            assert_eq!(first.status(), 201);
            assert!(first.headers().get("idempotent-replayed").is_none(), "{key}");
        }
        assert_eq!(links.lock().unwrap().len(), 0);
    });
    // The second run has got a replay from the inner handler, whose span says so.
    assert_eq!(first_traces(&observed), [FIRST]);
}

#[test]
fn a_commit_that_finds_the_response_of_an_earlier_run_tells_of_its_trace() {
    let observed = Observed::default();
    observed.during(async {
        let (app, url, links) = committing().await;
        send(&url, "k", Some(RETRY)).await;
        // The store forgets the key, and the database does not. So the handler runs, and its commit finds the row.
        app.idempotency.forget(&RequestName::new(Method::POST, "/payments", "k")).await.unwrap();
        let replay = send(&url, "k", Some(FIRST)).await;
        assert_eq!(replay.headers()["idempotent-replayed"], "true");
        assert_eq!(*links.lock().unwrap(), [RETRY]);
    });
    // The inner handler has replayed its response too, whose request had another trace.
    assert_eq!(first_traces(&observed), [FIRST, RETRY]);
}

#[test]
fn a_request_without_a_valid_trace_leaves_none() {
    let observed = Observed::default();
    observed.during(async {
        let (url, links) = serve(Idempotency::new(MemoryStore::new())).await;
        for (key, traceparent) in [("none", None), ("invalid", Some("00-of-nothing-01"))] {
            send(&url, key, traceparent).await;
            let replay = send(&url, key, Some(RETRY)).await;
            assert_eq!(replay.headers()["idempotent-replayed"], "true");
            assert!(replay.headers().get("traceparent").is_none());
        }
        assert!(links.lock().unwrap().is_empty());
    });
    assert_eq!(first_traces(&observed), [""; 0]);
}
