//! Runs the example `client` against real servers: it pays once, and makes the right decision for each problem type.

#[path = "../../examples/client/retry_with_key.rs"]
mod retry_with_key;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, Request, State},
    http::{StatusCode, header::LOCATION},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::{future::join_all, stream};
use idempotent_runtime::{
    EncryptionKeys, Idempotency, IdempotencyBuilder, MemoryStore, RedisStore, SqlStore, idempotent,
};
use reqwest::Client;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error};
use retry_policies::policies::ExponentialBackoff;
use retry_with_key::{LookFirst, RetryWithKey};
use support::{example::Example, proxy::Proxy, redis_server::RedisServer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

/// How long a test waits for something that must happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    shop: Arc<Shop>,
}

/// The state of the server, and what has happened there.
struct Shop {
    payments: AtomicUsize,
    /// Holds each payment until the test lets it go on.
    gate: Semaphore,
    begun: watch::Sender<usize>,
    answers: Mutex<Vec<Seen>>,
    answered: watch::Sender<usize>,
}

/// A request that was answered.
#[derive(Clone)]
struct Seen {
    key: String,
    status: u16,
    when: Instant,
}

impl Shop {
    async fn answers(&self, count: usize) -> Vec<Seen> {
        let mut answered = self.answered.subscribe();
        let enough = answered.wait_for(|answered| *answered >= count);
        tokio::time::timeout(PATIENCE, enough).await.expect("answers").unwrap();
        self.answers.lock().unwrap().clone()
    }

    async fn begun(&self) {
        let mut begun = self.begun.subscribe();
        tokio::time::timeout(PATIENCE, begun.wait_for(|begun| *begun > 0)).await.expect("a payment").unwrap();
    }
}

#[idempotent(ttl = "1h")]
async fn pay(State(shop): State<Arc<Shop>>, _cents: String) -> (StatusCode, String) {
    shop.begun.send_modify(|begun| *begun += 1);
    shop.gate.acquire().await.unwrap().forget();
    (StatusCode::CREATED, format!("payment {}", shop.payments.fetch_add(1, SeqCst) + 1))
}

#[idempotent(ttl = "1h", key = "uuidv7")]
async fn dated() {}

#[idempotent(ttl = "1h", takeover = "refuse")]
async fn dies() {
    panic!("as a bug does");
}

#[idempotent(ttl = "1h")]
async fn large() -> Response {
    (StatusCode::CREATED, [(LOCATION, "/payments/7")], "x".repeat(10_000)).into_response()
}

#[idempotent(ttl = "1h")]
async fn ignores_its_body() {}

/// Replaces the request's body by one that breaks off, as the layers inside see it.
async fn break_off(request: Request, next: Next) -> Response {
    let pieces: [Result<&str, std::io::Error>; 2] = [Ok("4"), Err(std::io::ErrorKind::ConnectionReset.into())];
    next.run(request.map(|_| Body::from_stream(stream::iter(pieces)))).await
}

async fn note(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    let key = request.headers().get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
    let response = next.run(request).await;
    let seen = Seen { key: key.unwrap_or_default(), status: response.status().as_u16(), when: Instant::now() };
    let mut answers = shop.answers.lock().unwrap();
    answers.push(seen);
    shop.answered.send_replace(answers.len());
    drop(answers);
    response
}

struct Service {
    shop: Arc<Shop>,
    address: std::net::SocketAddr,
}

impl Service {
    async fn start(settings: IdempotencyBuilder) -> Self {
        let shop = Arc::new(Shop {
            payments: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            begun: watch::Sender::new(0),
            answers: Mutex::default(),
            answered: watch::Sender::new(0),
        });
        let app = App { idempotency: settings.build(), shop: Arc::clone(&shop) };
        let routes = Router::new()
            .route("/pay", post(pay))
            .route("/dated", post(dated))
            .route("/dies", post(dies))
            .route("/large", post(large))
            .route("/ignores", post(ignores_its_body))
            .route("/broken", post(ignores_its_body).layer(from_fn(break_off)))
            .layer(from_fn_with_state(Arc::clone(&shop), note))
            .with_state(app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { shop, address }
    }

    async fn in_memory() -> Self {
        Self::start(settings()).await
    }

    /// Sends without retries, for another client's request or an earlier one.
    async fn plainly(&self, path: &str, key: &str, body: &str) -> reqwest::Result<reqwest::Response> {
        let request = Client::new().post(format!("http://{}{path}", self.address)).header("idempotency-key", key);
        request.body(body.to_owned()).send().await
    }

    fn pay_first(&self) -> tokio::task::JoinHandle<reqwest::Response> {
        let request = Client::new().post(format!("http://{}/pay", self.address)).header("idempotency-key", "k");
        tokio::spawn(async move { request.body("4200").send().await.unwrap() })
    }

    fn payments(&self) -> usize {
        self.shop.payments.load(SeqCst)
    }
}

fn settings() -> IdempotencyBuilder {
    Idempotency::builder(MemoryStore::new()).namespace("shop")
}

/// A client with pauses so short that only a `Retry-After` makes it wait.
fn retrying(retries: u32) -> ClientWithMiddleware {
    let policy = ExponentialBackoff::builder().retry_bounds(Duration::from_millis(1), Duration::from_millis(50));
    ClientBuilder::new(Client::new()).with(RetryWithKey { policy: policy.build_with_max_retries(retries) }).build()
}

async fn send(retries: u32, address: impl std::fmt::Display, path: &str, key: &str, body: &str) -> Outcome {
    let request = retrying(retries).post(format!("http://{address}{path}")).header("idempotency-key", key);
    match request.body(body.to_owned()).send().await {
        Ok(response) => {
            let replayed = response.headers().contains_key("idempotent-replayed");
            Outcome::Answer(response.status().as_u16(), replayed, response.text().await.unwrap())
        }
        Err(Error::Middleware(error)) => {
            let stop = error.downcast_ref::<LookFirst>().expect("nothing else is in the middle");
            assert!(error.to_string().contains("look at the resource"), "{error}");
            Outcome::LookFirst(stop.status.as_u16(), stop.problem.clone(), stop.location.clone())
        }
        Err(error) => Outcome::NoAnswer(error.to_string()),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Answer(u16, bool, String),
    LookFirst(u16, String, Option<String>),
    NoAnswer(String),
}

fn replay_of_the_payment() -> Outcome {
    Outcome::Answer(201, true, "payment 1".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_another_request_runs_it_comes_back_after_the_pause_and_gets_its_response() {
    let service = Service::in_memory().await;
    let first = service.pay_first();
    service.shop.begun().await;
    let address = service.address;
    let second = tokio::spawn(async move { send(20, address, "/pay", "k", "4200").await });
    let refused = service.shop.answers(1).await;
    assert_eq!(refused[0].status, 409);
    service.shop.gate.add_permits(1);
    assert_eq!(first.await.unwrap().status(), 201);
    assert_eq!(second.await.unwrap(), replay_of_the_payment());
    let [refused, .., replayed] = &service.shop.answers(3).await[..] else { panic!("three answers") };
    // The answer has `Retry-After: 1`. The policy alone would send again within 50 ms.
    assert!(replayed.when - refused.when >= Duration::from_secs(1), "{:?}", replayed.when - refused.when);
    assert_eq!((refused.key.as_str(), replayed.key.as_str(), service.payments()), ("k", "k", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_down_it_comes_back_until_the_request_is_carried_out() {
    let mut redis = RedisServer::start();
    let store = RedisStore::builder().connect_timeout(PATIENCE).connect(&redis.url()).await.unwrap();
    let service = Service::start(Idempotency::builder(store).namespace("shop")).await;
    service.shop.gate.add_permits(1);
    redis.kill();
    let address = service.address;
    let paying = tokio::spawn(async move { send(60, address, "/pay", "k", "4200").await });
    assert_eq!(service.shop.answers(1).await[0].status, 503);
    redis.restart();
    assert_eq!(paying.await.unwrap(), Outcome::Answer(201, false, "payment 1".to_owned()));
    assert_eq!(service.payments(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_connection_breaks_before_the_answer_it_gets_it_by_the_retry() {
    let service = Service::in_memory().await;
    service.shop.gate.add_permits(2);
    let proxy = Proxy::to(service.address).await;
    proxy.cut_next_answer();
    assert_eq!(send(5, proxy.address(), "/pay", "k", "4200").await, replay_of_the_payment());
    assert_eq!((proxy.answers_cut(), service.payments()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nobody_answers_it_gives_up_with_the_policy() {
    // Nobody listens there.
    let outcome = send(3, "127.0.0.1:1", "/pay", "k", "4200").await;
    assert!(matches!(outcome, Outcome::NoAnswer(_)), "{outcome:?}");
}

/// Without a key, a retry could pay twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_it_tries_once() {
    let service = Service::start(settings().max_in_flight(1)).await;
    let proxy = Proxy::to(service.address).await;
    proxy.cut_next_answer();
    let request = retrying(5).post(format!("http://{}/pay", proxy.address())).body("4200");
    assert!(request.send().await.is_err());
    assert_eq!(proxy.connections(), 1);
}

/// Starts the example as its reader does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_pays_at_the_quickstart_and_tells_a_replay() {
    let quickstart = Example::start("quickstart", &[]);
    let url = quickstart.url("/payments");
    let pay = |body: &str| Example::run("client", &[&url, "order-1", body]);
    assert_eq!(pay("4200"), (true, "201 Created\npayment 1: 4200 cents\n".to_owned(), String::new()));
    assert_eq!(pay("4200"), (true, "201 Created, a replay\npayment 1: 4200 cents\n".to_owned(), String::new()));
    let (success, _, error) = pay("4300");
    assert!(!success && error.contains("key-reused"), "{error}");
}

/// What the client did: how many requests arrived, and what the caller got.
async fn decision(service: &Service, path: &str, key: &str, body: &str) -> (usize, Outcome) {
    let before = service.shop.answers(0).await.len();
    let outcome = send(1, service.address, path, key, body).await;
    (service.shop.answers(0).await.len() - before, outcome)
}

/// Checks that the client sent one request and gave its answer to the caller, and returns the slug of the problem.
fn once(slug: &'static str, made: (usize, Outcome)) -> &'static str {
    let (requests, outcome) = made;
    let Outcome::Answer(status, false, body) = outcome else { panic!("{slug}: {outcome:?}") };
    assert!((400..500).contains(&status) && body.contains(&format!("#{slug}\"")), "{slug}: {status} {body}");
    assert_eq!(requests, 1, "{slug}");
    slug
}

fn tried_again(slug: &'static str, made: (usize, Outcome)) -> &'static str {
    let (requests, outcome) = made;
    let Outcome::Answer(_, false, body) = outcome else { panic!("{slug}: {outcome:?}") };
    assert!(body.contains(&format!("#{slug}\"")), "{slug}: {body}");
    assert_eq!(requests, 2, "{slug}");
    slug
}

fn stopped(slug: &'static str, made: (usize, Outcome)) -> &'static str {
    let (requests, outcome) = made;
    let Outcome::LookFirst(_, problem, location) = outcome else { panic!("{slug}: {outcome:?}") };
    assert_eq!((problem.as_str(), requests), (slug, 1));
    assert_eq!(location.is_some(), slug == "not-replayable", "{location:?}");
    slug
}

async fn key_missing() -> &'static str {
    let service = Service::in_memory().await;
    let response = retrying(1).post(format!("http://{}/pay", service.address)).send().await.unwrap();
    let outcome = Outcome::Answer(response.status().as_u16(), false, response.text().await.unwrap());
    once("key-missing", (service.shop.answers(1).await.len(), outcome))
}

async fn key_invalid() -> &'static str {
    once("key-invalid", decision(&Service::in_memory().await, "/pay", "k, k", "4200").await)
}

async fn request_too_large() -> &'static str {
    let service = Service::start(settings().max_request(10)).await;
    once("request-too-large", decision(&service, "/ignores", "k", "more than ten bytes").await)
}

async fn in_flight() -> &'static str {
    let service = Service::in_memory().await;
    let first = service.pay_first();
    service.shop.begun().await;
    let made = decision(&service, "/pay", "k", "4200").await;
    first.abort();
    tried_again("in-flight", made)
}

async fn request_unreadable() -> &'static str {
    tried_again("request-unreadable", decision(&Service::in_memory().await, "/broken", "k", "4200").await)
}

async fn store_unavailable() -> &'static str {
    // Nobody listens there.
    let store = RedisStore::builder().lazy().connect("redis://127.0.0.1:1/").await.unwrap();
    let service = Service::start(Idempotency::builder(store).namespace("shop")).await;
    tried_again("store-unavailable", decision(&service, "/pay", "k", "4200").await)
}

/// The table of the journal was never made.
async fn journal_unavailable() -> &'static str {
    let journal = SqlStore::sqlite(sqlx::SqlitePool::connect("sqlite::memory:").await.unwrap());
    let service = Service::start(settings().commit_to(journal)).await;
    tried_again("journal-unavailable", decision(&service, "/pay", "k", "4200").await)
}

async fn store_full() -> &'static str {
    let store = MemoryStore::builder().max_records(1).build();
    let service = Service::start(Idempotency::builder(store).namespace("shop")).await;
    service.shop.gate.add_permits(1);
    service.plainly("/pay", "first", "4200").await.unwrap();
    tried_again("store-full", decision(&service, "/pay", "second", "4200").await)
}

async fn too_many_in_flight() -> &'static str {
    let service = Service::start(settings().max_in_flight(1)).await;
    let first = service.pay_first();
    service.shop.begun().await;
    let made = decision(&service, "/pay", "another", "4200").await;
    first.abort();
    tried_again("too-many-in-flight", made)
}

async fn key_expired() -> &'static str {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let yesterday = uuid::Timestamp::from_unix(uuid::NoContext, now.as_secs() - 86_400, 0);
    let key = uuid::Uuid::new_v7(yesterday).to_string();
    stopped("key-expired", decision(&Service::in_memory().await, "/dated", &key, "").await)
}

async fn key_reused() -> &'static str {
    let service = Service::in_memory().await;
    service.shop.gate.add_permits(1);
    service.plainly("/pay", "k", "4200").await.unwrap();
    stopped("key-reused", decision(&service, "/pay", "k", "4300").await)
}

async fn outcome_unknown() -> &'static str {
    let service = Service::in_memory().await;
    assert!(service.plainly("/dies", "k", "").await.is_err());
    // The panic breaks the connection. The end of the attempt may be recorded a moment later.
    while service.plainly("/dies", "k", "").await.unwrap().text().await.unwrap().contains("in-flight") {}
    stopped("outcome-unknown", decision(&service, "/dies", "k", "").await)
}

async fn not_replayable() -> &'static str {
    let service = Service::start(settings().max_response(1_000)).await;
    service.plainly("/large", "k", "").await.unwrap();
    stopped("not-replayable", decision(&service, "/large", "k", "").await)
}

/// A service that does not have the key with which another one encrypted the record.
async fn record_unreadable() -> &'static str {
    let store = Arc::new(MemoryStore::new());
    let encrypting = |id| {
        let settings = Idempotency::builder(Arc::clone(&store)).namespace("shop");
        Service::start(settings.encrypt(EncryptionKeys::new([(id, [id; 32])])))
    };
    let (one, another) = (encrypting(1).await, encrypting(2).await);
    one.shop.gate.add_permits(1);
    one.plainly("/pay", "k", "4200").await.unwrap();
    stopped("record-unreadable", decision(&another, "/pay", "k", "4200").await)
}

/// Every answer that the library itself gives, each provoked by a real cause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_decides_rightly_on_every_problem_of_the_library() {
    let sent_once = [tokio::spawn(key_missing()), tokio::spawn(key_invalid()), tokio::spawn(request_too_large())];
    let tried_again = [
        tokio::spawn(in_flight()),
        tokio::spawn(request_unreadable()),
        tokio::spawn(store_unavailable()),
        tokio::spawn(journal_unavailable()),
        tokio::spawn(store_full()),
        tokio::spawn(too_many_in_flight()),
    ];
    let stopped = [
        tokio::spawn(key_expired()),
        tokio::spawn(key_reused()),
        tokio::spawn(outcome_unknown()),
        tokio::spawn(not_replayable()),
        tokio::spawn(record_unreadable()),
    ];
    let seen = join_all(sent_once.into_iter().chain(tried_again).chain(stopped)).await;
    let seen: BTreeSet<_> = seen.into_iter().map(Result::unwrap).collect();
    let pages = include_str!("../../idempotent-runtime/src/problem/pages.rs");
    let all: BTreeSet<_> = pages.lines().filter_map(|line| line.strip_prefix("//! # ")).collect();
    assert_eq!(seen, all);
}
