//! A service, and clients that retry as clients should do.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{FromRef, State},
    http::StatusCode,
    routing::post,
};
use idempotent_runtime::{Idempotency, idempotent};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

/// How often the handler ran, for the keys that are in use.
type Runs = Arc<Mutex<HashMap<String, usize>>>;

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    runs: Runs,
}

/// The first attempt of a body that ends in 7 fails. A body that ends in 9 takes longer.
#[idempotent(ttl = "10m")]
async fn pay(State(runs): State<Runs>, key: String) -> StatusCode {
    let run = {
        let mut runs = runs.lock().unwrap();
        let run = runs.entry(key.clone()).or_default();
        *run += 1;
        *run
    };
    if key.ends_with('9') {
        sleep(Duration::from_millis(300)).await;
    }
    if key.ends_with('7') && run == 1 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::CREATED }
}

pub(crate) struct Clients {
    url: String,
    http: reqwest::Client,
    runs: Runs,
    pub(crate) seen: Seen,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) requests: AtomicUsize,
    pub(crate) keys: AtomicUsize,
    pub(crate) refused: AtomicUsize,
    pub(crate) runs: AtomicUsize,
    pub(crate) duplicates: AtomicUsize,
    slowest: Mutex<Duration>,
    odd: Mutex<Vec<String>>,
}

impl Seen {
    pub(crate) fn slowest(&self) -> Duration {
        *self.slowest.lock().unwrap()
    }

    /// The first hundred answers that the documentation does not allow.
    pub(crate) fn odd(&self) -> Vec<String> {
        self.odd.lock().unwrap().clone()
    }

    fn is_odd(&self, what: String) {
        let mut odd = self.odd.lock().unwrap();
        if odd.len() < 100 {
            odd.push(what);
        }
    }
}

impl Clients {
    pub(crate) async fn new(idempotency: Idempotency) -> Arc<Self> {
        let runs = Runs::default();
        let app = App { idempotency, runs: Arc::clone(&runs) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let routes = Router::new().route("/", post(pay)).with_state(app);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        // There are no idle connections, so that the file descriptors can be compared.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        Arc::new(Self { url, http, runs, seen: Seen::default() })
    }

    pub(crate) async fn run(self: &Arc<Self>, duration: Duration, clients: usize) {
        let end = Instant::now() + duration;
        let mut set = JoinSet::new();
        for _ in 0..clients {
            let this = Arc::clone(self);
            set.spawn(async move {
                while Instant::now() < end {
                    let number = this.seen.keys.fetch_add(1, SeqCst);
                    this.pay(format!("key-{number}")).await;
                    sleep(Duration::from_millis(10)).await;
                }
            });
        }
        while let Some(client) = set.join_next().await {
            client.unwrap();
        }
    }

    /// Sends until the payment is made, and then sends two retries.
    async fn pay(&self, key: String) {
        let fails_once = usize::from(key.ends_with('7'));
        self.until_paid(&key).await;
        let (first, second) = tokio::join!(self.until_paid(&key), self.until_paid(&key));
        if !(first && second) {
            self.seen.is_odd(format!("a retry of {key} is no replay"));
        }
        let runs = self.runs.lock().unwrap().remove(&key).unwrap_or(0);
        self.seen.runs.fetch_add(runs, SeqCst);
        self.seen.duplicates.fetch_add(runs.saturating_sub(1 + fails_once), SeqCst);
    }

    /// Sends until the payment is made, and returns whether the answer was a replay.
    async fn until_paid(&self, key: &str) -> bool {
        let first = Instant::now();
        loop {
            let request = self.http.post(&self.url).header("idempotency-key", key).body(key.to_owned());
            let start = Instant::now();
            let answer = request.send().await;
            self.seen.requests.fetch_add(1, SeqCst);
            let took = start.elapsed();
            {
                let mut slowest = self.seen.slowest.lock().unwrap();
                *slowest = took.max(*slowest);
            }
            match answer.as_ref().map(reqwest::Response::status) {
                Ok(StatusCode::CREATED) => {
                    return answer.is_ok_and(|answer| answer.headers().contains_key("idempotent-replayed"));
                }
                Ok(StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT) => {
                    self.seen.refused.fetch_add(1, SeqCst);
                }
                Ok(StatusCode::INTERNAL_SERVER_ERROR) if key.ends_with('7') => {}
                Ok(status) => self.seen.is_odd(format!("{status} for {key}")),
                Err(error) => self.seen.is_odd(format!("{error:?} for {key}")),
            }
            if first.elapsed() > Duration::from_secs(25) {
                self.seen.is_odd(format!("{key} is not paid after 25 s"));
                return false;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}
