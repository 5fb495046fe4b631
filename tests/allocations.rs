//! Counts the allocations of a protected request, and measures the largest one.

use std::{
    alloc::System,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use axum::{
    Json, Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header::CONTENT_TYPE},
    response::Response,
    routing::post,
};
use http_body_util::BodyExt;
use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
use tower::ServiceExt;
use tracking_allocator::{AllocationGroupId, AllocationGroupToken, AllocationRegistry, AllocationTracker, Allocator};

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

static COUNT: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// Counts the allocations of the group that is measured. Other threads never enter that group.
struct Tracker;

impl AllocationTracker for Tracker {
    fn allocated(&self, _: usize, size: usize, _: usize, group: AllocationGroupId) {
        if group != AllocationGroupId::ROOT {
            COUNT.fetch_add(1, SeqCst);
            LARGEST.fetch_max(size, SeqCst);
        }
    }

    fn deallocated(&self, _: usize, _: usize, _: usize, _: AllocationGroupId, _: AllocationGroupId) {}
}

const BODY: &str = r#"{"account":"alice","amount":100}"#;

async fn bare(Json(new): Json<serde_json::Value>) -> (StatusCode, Json<serde_json::Value>) {
    (StatusCode::CREATED, Json(new))
}

#[idempotent(ttl = "1h")]
async fn protected(Json(new): Json<serde_json::Value>) -> (StatusCode, Json<serde_json::Value>) {
    (StatusCode::CREATED, Json(new))
}

fn request(path: &str, key: &str) -> Request {
    let request = Request::post(path).header(CONTENT_TYPE, "application/json").header("idempotency-key", key);
    request.body(Body::from(BODY)).unwrap()
}

/// Sends the request, and returns the number of allocations and the size of the largest one.
fn measured(group: &mut AllocationGroupToken, app: &Router, request: Request) -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = app.clone();
    runtime.block_on(async {
        COUNT.store(0, SeqCst);
        LARGEST.store(0, SeqCst);
        let inside = group.enter();
        let response: Response = app.oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        drop(inside);
        assert_eq!((status, body.len()), (StatusCode::CREATED, BODY.len()));
        (COUNT.load(SeqCst), LARGEST.load(SeqCst))
    })
}

fn keys() -> impl Iterator<Item = String> {
    (0..51).map(|number| format!("key-{number}"))
}

/// The median of each figure. A single request may be an outlier, because the store's table grows now and then.
fn median(requests: impl Iterator<Item = (usize, usize)>) -> (usize, usize) {
    let (mut counts, mut largest): (Vec<_>, Vec<_>) = requests.unzip();
    counts.sort_unstable();
    largest.sort_unstable();
    (counts[counts.len() / 2], largest[largest.len() / 2])
}

#[test]
fn a_request_allocates_seldom_and_little() {
    AllocationRegistry::set_global_tracker(Tracker).expect("no other tracker");
    AllocationRegistry::enable_tracking();
    let mut group = AllocationGroupToken::register().expect("a group");
    let app = Router::new()
        .route("/bare", post(bare))
        .route("/protected", post(protected))
        .with_state(Idempotency::new(MemoryStore::new()));
    // The first requests also allocate what is made only once. They are not measured.
    for path in ["/bare", "/protected"] {
        median((0..200).map(|number| measured(&mut group, &app, request(path, &format!("warm-{number}")))));
    }
    let mut of = |path, keys: &mut dyn Iterator<Item = String>| {
        median(keys.map(|key| measured(&mut group, &app, request(path, &key))))
    };
    let (bare, largest) = of("/bare", &mut keys());
    let (first, largest_first) = of("/protected", &mut keys());
    let (replay, largest_replay) = of("/protected", &mut keys());
    println!(
        "bare {bare}, at most {largest} bytes; first {first}, at most {largest_first} bytes; replay {replay}, at most \
         {largest_replay} bytes"
    );
    assert!(first <= bare + FIRST, "a first execution: {first} allocations, bare {bare}");
    assert!(replay <= bare + REPLAY, "a replay: {replay} allocations, bare {bare}");
    assert!(largest_first <= LARGEST_SMALL, "a first execution: {largest_first} bytes at once, bare {largest}");
    assert!(largest_replay <= LARGEST_SMALL, "a replay: {largest_replay} bytes at once, bare {largest}");
}

/// How many more allocations a protected request may make than the bare handler. A first execution makes 20, and one more
/// where the store's table or its list of expiries grows; with so few keys that is every second one.
const FIRST: usize = 21;
const REPLAY: usize = 13;

/// glibc takes several times as long for a larger block. The largest block of the bare handler, the future that axum makes of
/// the extractor and the handler, is larger.
const LARGEST_SMALL: usize = 1_032;
