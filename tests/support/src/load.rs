//! Clients that send requests with keys and retry them, and the results.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, State},
    http::{Request, StatusCode},
    routing::post,
};
use idempotent_runtime::{Idempotency, Store, idempotent};
use tokio::{task::JoinSet, time::sleep};
use tower::ServiceExt as _;

/// Every request is answered within this time, whatever fails. It takes half a second; the rest is for a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// A replica has every acknowledged write that is older than this, also on a busy machine.
const REPLICATED: Duration = Duration::from_secs(3);

/// How long a client retries a key.
const RETRIED_FOR: Duration = Duration::from_secs(60);

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    runs: Runs,
}

/// When the handler ran, by key.
type Runs = Arc<Mutex<HashMap<String, Vec<Instant>>>>;

#[idempotent(ttl = "1h", lease = "5s")]
async fn charge(State(runs): State<Runs>, key: String) -> StatusCode {
    runs.lock().unwrap().entry(key).or_default().push(Instant::now());
    sleep(Duration::from_millis(5)).await;
    StatusCode::CREATED
}

/// Clients that send requests until they are told to stop.
pub struct Load {
    router: Router,
    runs: Runs,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    refused: AtomicUsize,
    /// When each key was answered with 201, and how long that took since its first request.
    charged: Mutex<HashMap<String, (Instant, Duration)>>,
    slowest: Mutex<Duration>,
    odd: Mutex<Vec<String>>,
}

/// What the clients saw, and how often the handler ran.
#[derive(Debug)]
pub struct Report {
    /// All requests that were sent, including retries.
    pub requests: usize,
    /// Keys that were answered with 201.
    pub keys: usize,
    /// How often the handler ran.
    pub executions: usize,
    /// Executions beyond the first of a key.
    pub duplicates: usize,
    /// Duplicates whose first execution was answered long enough before the fault.
    old_duplicates: usize,
    /// Requests that were answered with 409 or 503.
    pub refused: usize,
    /// The longest time that a client waited for one answer.
    slowest_answer: Duration,
    /// The longest time that a key had to be retried.
    recovery: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests for {} keys, {} executions, {} duplicates, {} refused; slowest answer {:?}, a key retried for \
             at most {:?}",
            self.requests,
            self.keys,
            self.executions,
            self.duplicates,
            self.refused,
            self.slowest_answer,
            self.recovery
        )
    }
}

impl Load {
    /// Starts this many clients.
    pub fn start(store: impl Store, clients: usize) -> Self {
        let runs = Runs::default();
        let idempotency = Idempotency::builder(store).namespace("load").build();
        let app = App { idempotency, runs: Arc::clone(&runs) };
        let router = Router::new().route("/charges", post(charge)).with_state(app);
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Seen>::default());
        let mut set = JoinSet::new();
        for client in 0..clients {
            let (router, stop, seen) = (router.clone(), Arc::clone(&stop), Arc::clone(&seen));
            set.spawn(async move {
                for number in 0.. {
                    if stop.load(SeqCst) {
                        break;
                    }
                    seen.charge(&router, format!("{client}-{number}")).await;
                    sleep(Duration::from_millis(5)).await;
                }
            });
        }
        Self { router, runs, stop, clients: set, seen }
    }

    /// How many keys are charged so far.
    fn charged(&self) -> usize {
        self.seen.charged.lock().unwrap().len()
    }

    /// Waits until this many more keys are charged.
    pub async fn charges(&self, more: usize) {
        let (start, before) = (Instant::now(), self.charged());
        while self.charged() < before + more {
            assert!(start.elapsed() < RETRIED_FOR, "only {} keys are charged", self.charged() - before);
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the clients, retries every key once more and counts. An execution is old when it was answered at least
    /// `age` before the fault.
    pub async fn finish(mut self, fault: Instant, age: Duration) -> Report {
        self.stop.store(true, SeqCst);
        while let Some(client) = self.clients.join_next().await {
            client.expect("a client goes on whatever it sees");
        }
        let charged = self.seen.charged.lock().unwrap().clone();
        // A retry shows whether a record was lost.
        let mut retries = JoinSet::new();
        for key in charged.keys().cloned() {
            let (router, seen) = (self.router.clone(), Arc::clone(&self.seen));
            retries.spawn(async move { seen.charge(&router, key).await });
            if retries.len() >= 64 {
                retries.join_next().await;
            }
        }
        retries.join_all().await;
        let odd = self.seen.odd.lock().unwrap().clone();
        assert!(odd.is_empty(), "answers that nobody promised: {odd:?}");
        let runs = self.runs.lock().unwrap();
        let old = |key: &String| {
            charged.get(key).is_some_and(|(answered, _)| fault.checked_duration_since(*answered) >= Some(age))
        };
        Report {
            requests: self.seen.requests.load(SeqCst),
            keys: charged.len(),
            executions: runs.values().map(Vec::len).sum(),
            duplicates: runs.values().map(|runs| runs.len() - 1).sum(),
            old_duplicates: runs.iter().filter(|(key, _)| old(key)).map(|(_, runs)| runs.len() - 1).sum(),
            refused: self.seen.refused.load(SeqCst),
            slowest_answer: *self.seen.slowest.lock().unwrap(),
            recovery: charged.values().map(|(_, took)| *took).max().unwrap_or_default(),
        }
    }
}

/// A master is lost under load. `again` returns how long it took until its keys were served again. Every request is
/// answered in time, and no request runs twice whose record the replica had.
pub async fn goes_on_under_load(store: impl Store, lose: impl FnOnce(), again: impl AsyncFnOnce() -> Duration) {
    let load = Load::start(store, 8);
    load.charges(200).await;
    sleep(REPLICATED).await;
    let fault = Instant::now();
    lose();
    println!("its keys are served again after {:?}", again().await);
    load.charges(200).await;
    let report = load.finish(fault, REPLICATED).await;
    println!("{report}");
    assert!(report.slowest_answer < ANSWERED_WITHIN, "{report}");
    assert_eq!(report.old_duplicates, 0, "{report}");
}

impl Seen {
    fn took(&self, answer: Duration) {
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = answer.max(*slowest);
    }

    /// Sends requests with a key until it is charged.
    async fn charge(&self, router: &Router, key: String) {
        let first = Instant::now();
        loop {
            let request = Request::post("/charges").header("idempotency-key", &key).body(Body::from(key.clone()));
            let start = Instant::now();
            let response = router.clone().oneshot(request.unwrap()).await.unwrap();
            self.requests.fetch_add(1, SeqCst);
            self.took(start.elapsed());
            match response.status() {
                StatusCode::CREATED => {
                    self.charged.lock().unwrap().entry(key).or_insert((Instant::now(), first.elapsed()));
                    return;
                }
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT => {
                    self.refused.fetch_add(1, SeqCst);
                }
                other => self.odd.lock().unwrap().push(other.to_string()),
            }
            if first.elapsed() > RETRIED_FOR {
                self.odd.lock().unwrap().push(format!("{} for {RETRIED_FOR:?}", response.status()));
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}
