//! Where a handler gets its `Idempotency` from: routers with any kind of state, and routers without one.
#![deny(warnings, clippy::pedantic, clippy::nursery)]
#![forbid(unsafe_code)]
// The first contradicts `unreachable_pub`. The second reports the copies of a handler that `debug_handler` makes.
#![allow(clippy::redundant_pub_crate, clippy::unused_async)]

use std::sync::{Arc, LazyLock, Mutex, RwLock};

use axum::{
    Extension, Json, Router, debug_handler,
    extract::{FromRef, State},
    http::{Method, StatusCode},
    routing::{get, post, post_service},
};
use idempotent_runtime::{Claim, Idempotency, MemoryStore, idempotent};
use support::{in_process::send, logged::errors};

fn idempotency() -> Idempotency {
    Idempotency::new(MemoryStore::new())
}

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    pool: Pool,
}

/// A part of the state that has nothing to do with the store.
#[derive(Clone)]
struct Pool(&'static str);

fn state() -> App {
    App { idempotency: idempotency(), pool: Pool("pool") }
}

/// Sends one request twice, and checks that the handler runs once and that the second answer is a replay.
async fn runs_once(router: Router, expected: &str) {
    let first = send(&router, "/", "k", "7").await;
    assert_eq!((first.status, first.body.as_str(), first.replayed), (StatusCode::OK, expected, false));
    let retry = send(&router, "/", "k", "7").await;
    assert_eq!((retry.status, retry.body.as_str(), retry.replayed), (StatusCode::OK, expected, true));
}

#[idempotent]
async fn of_an_arc(State(app): State<Arc<App>>, Json(amount): Json<u64>) -> String {
    format!("{} {amount}", app.pool.0)
}

#[tokio::test]
async fn an_arc_of_a_state_offers_what_the_state_offers() {
    runs_once(Router::new().route("/", post(of_an_arc)).with_state(Arc::new(state())), "pool 7").await;
}

#[idempotent]
async fn of_a_reference(State(app): State<&'static App>, Json(amount): Json<u64>) -> String {
    format!("{} {amount}", app.pool.0)
}

#[tokio::test]
async fn a_static_reference_to_a_state_offers_what_the_state_offers() {
    let app: &'static App = Box::leak(Box::new(state()));
    runs_once(Router::new().route("/", post(of_a_reference)).with_state(app), "pool 7").await;
}

#[idempotent]
async fn of_a_mutex(State(app): State<Arc<Mutex<App>>>, Json(amount): Json<u64>) -> String {
    let pool = app.lock().expect("nobody panicked").pool.0;
    format!("{pool} {amount}")
}

#[idempotent]
async fn of_a_lock(State(app): State<Arc<RwLock<App>>>, Json(amount): Json<u64>) -> String {
    let pool = app.read().expect("nobody panicked").pool.0;
    format!("{pool} {amount}")
}

#[tokio::test]
async fn a_state_behind_a_lock_offers_what_the_state_offers() {
    let mutex = Arc::new(Mutex::new(state()));
    runs_once(Router::new().route("/", post(of_a_mutex)).with_state(mutex), "pool 7").await;
    let lock = Arc::new(RwLock::new(state()));
    runs_once(Router::new().route("/", post(of_a_lock)).with_state(lock), "pool 7").await;
}

#[derive(Clone)]
struct Shared(Arc<App>);

impl FromRef<Shared> for Idempotency {
    fn from_ref(shared: &Shared) -> Self {
        shared.0.idempotency.clone()
    }
}

#[idempotent]
async fn of_a_newtype(State(Shared(app)): State<Shared>, Json(amount): Json<u64>) -> String {
    format!("{} {amount}", app.pool.0)
}

#[tokio::test]
async fn a_newtype_offers_what_its_own_impl_says() {
    runs_once(Router::new().route("/", post(of_a_newtype)).with_state(Shared(Arc::new(state()))), "pool 7").await;
}

/// A state that contains another one from a foreign crate.
#[derive(Clone, FromRef)]
struct Outer {
    idempotency: Idempotency,
    foreign: Pool,
}

// Without `state = …`, `debug_handler` takes the sub-state for the router's.
#[idempotent]
#[debug_handler(state = Outer)]
async fn with_a_sub_state(State(pool): State<Pool>, Json(amount): Json<u64>) -> String {
    format!("{} {amount}", pool.0)
}

#[tokio::test]
async fn an_outer_state_offers_the_store_beside_a_foreign_state() {
    let outer = Outer { idempotency: idempotency(), foreign: Pool("foreign") };
    runs_once(Router::new().route("/", post(with_a_sub_state)).with_state(outer), "foreign 7").await;
}

#[tokio::test]
async fn a_handler_with_its_state_is_a_service_for_a_router_with_another_state() {
    let service = post_service(axum::handler::Handler::with_state(of_an_arc, Arc::new(state())));
    runs_once(Router::<Pool>::new().route("/", service).with_state(Pool("another")), "pool 7").await;
}

fn sub_router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Idempotency: FromRef<S>,
    Pool: FromRef<S>,
{
    Router::new().route("/", post(with_a_sub_state))
}

#[tokio::test]
async fn a_generic_sub_router_takes_any_state_that_offers_a_store() {
    runs_once(Router::new().merge(sub_router()).with_state(state()), "pool 7").await;
}

static IDEMPOTENCY: LazyLock<Idempotency> = LazyLock::new(idempotency);

fn the_store() -> &'static Idempotency {
    &IDEMPOTENCY
}

#[idempotent(store = IDEMPOTENCY)]
async fn by_a_static(_method: Method, Json(amount): Json<u64>) -> String {
    amount.to_string()
}

#[idempotent(store = the_store(), ttl = "1h", scope = pool.0)]
async fn by_a_function(State(pool): State<Pool>, claim: Claim, Json(amount): Json<u64>) -> String {
    format!("{} {amount} {}", pool.0, claim.protected())
}

#[idempotent(store = IDEMPOTENCY.clone())]
async fn without_arguments() -> &'static str {
    "done"
}

fn routes() -> Router {
    Router::new().route("/", post(without_arguments)).route("/static", post(by_a_static))
}

#[tokio::test]
async fn a_store_by_an_expression_needs_no_state() {
    runs_once(routes(), "done").await;
    let foreign = Router::new().route("/", post(by_a_function)).with_state(Pool("foreign"));
    runs_once(foreign, "foreign 7 true").await;
}

#[idempotent(store = extension)]
async fn by_the_extension(Extension(pool): Extension<Pool>, Json(amount): Json<u64>) -> String {
    format!("{} {amount}", pool.0)
}

#[idempotent(store = extension, key = amount)]
async fn by_the_extension_with_a_key(Json(amount): Json<u64>) -> String {
    amount.to_string()
}

#[tokio::test]
async fn a_store_in_the_extensions_needs_no_state() {
    let router: Router = Router::new()
        .route("/", post(by_the_extension))
        .layer(Extension(Pool("extension")))
        .layer(idempotency().layer());
    runs_once(router, "extension 7").await;
    let router = Router::new().route("/", post(by_the_extension_with_a_key)).layer(Extension(idempotency()));
    runs_once(router, "7").await;
}

#[test]
fn a_forgotten_layer_is_a_500_without_a_text_and_what_to_add_is_logged_once() {
    let logged = errors(async {
        let router = Router::new().route("/", post(by_the_extension)).layer(Extension(Pool("extension")));
        for _ in 0..2 {
            let answer = send(&router, "/", "k", "7").await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(answer.body, "", "advice is for operators");
        }
    });
    assert_eq!(logged.iter().filter(|line| line.contains(".layer(idempotency.layer())")).count(), 1, "{logged:?}");
}

#[idempotent(store = extension, required = false)]
async fn read() -> &'static str {
    "read"
}

#[tokio::test]
async fn an_innocent_get_beside_protected_handlers_needs_no_annotation() {
    let router = Router::new().route("/", get(async || "hello").post(read)).layer(idempotency().layer());
    runs_once(router, "read").await;
}
