//! Runs the payment service of `journal_server` in this process, with a client for it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use idempotent_runtime::{Idempotency, MemoryStore, Store};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    app::{self, App, NewPayment, Way},
    ledger::Ledger,
};

/// How long a client tries again.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service. It stops when it is dropped.
pub struct Shop {
    /// Its state.
    pub app: App,
    /// A client for it.
    pub client: Client,
    /// The address on which it listens.
    pub address: SocketAddr,
    server: JoinHandle<()>,
}

/// The parts of an answer that the tests compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// Its status.
    pub status: u16,
    /// Whether it has the header of a replay.
    pub replayed: bool,
    /// Its header `Location`.
    pub location: Option<String>,
    /// Its body, which is text.
    pub body: String,
}

impl Got {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The last part of a problem's type.
    pub fn problem(&self) -> String {
        let json = self.json();
        json["type"].as_str().and_then(|kind| kind.rsplit('#').next()).unwrap_or_default().to_owned()
    }
}

impl Shop {
    /// Opens a shop with an empty memory store, as after a restart, and with the ledger's own journal.
    pub async fn open(ledger: &Ledger) -> Self {
        Self::with(MemoryStore::new(), ledger, Way::Commit).await
    }

    /// Opens a shop with a store. It has the ledger's own journal if the way of committing needs one.
    pub async fn with(store: impl Store, ledger: &Ledger, way: Way) -> Self {
        // The timeout is long, so that a busy machine does not look like an outage.
        let builder = Idempotency::builder(store).store_timeout(Duration::from_secs(10));
        let builder = if way == Way::Plain { builder } else { builder.commit_to(ledger.store()) };
        Self::serve(App::new(builder.build(), ledger.clone(), way)).await
    }

    /// Opens a shop whose store is the ledger's database.
    pub async fn on_its_database(ledger: &Ledger, way: Way) -> Self {
        Self::serve(App::on_its_database(ledger.clone(), way)).await
    }

    /// Serves on a free port.
    pub async fn serve(app: App) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let routes = app::routes(app.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.expect("serves") });
        Self { app, client: client(), address, server }
    }

    /// Pays with a key.
    pub async fn pay(&self, key: &str, new: &NewPayment) -> Got {
        self.post("/payments", key, new).await
    }

    /// Posts a payment with a key.
    pub async fn post(&self, path: &str, key: &str, new: &NewPayment) -> Got {
        send(&self.client, self.address, path, Some(key), None, new).await.expect("an answer")
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A client that waits for a minute.
pub fn client() -> Client {
    Client::builder().timeout(PATIENCE).build().expect("a client")
}

/// Posts a payment, with a key if there is one. The request stops at a point if one is given.
///
/// # Errors
///
/// When there is no answer.
pub async fn send(
    client: &Client,
    address: SocketAddr,
    path: &str,
    key: Option<&str>,
    stop_at: Option<&str>,
    new: &NewPayment,
) -> Result<Got, reqwest::Error> {
    let mut request = post(client, address, path, new);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    if let Some(point) = stop_at {
        request = request.header("x-stop-at", point);
    }
    got(request.send().await?).await
}

/// Sends a payment as a client does: again after a pause, for as long as the first attempt is running.
pub async fn insist(address: SocketAddr, path: &str, key: &str, new: &NewPayment) -> Got {
    let client = client();
    let pay = || send(&client, address, path, Some(key), None, new);
    again_while(|got: &Got| got.status == 409, pay).await
}

/// Sends again after a pause, for as long as the answer asks for it.
pub async fn again_while<T, F>(told_to: impl Fn(&T) -> bool, send: impl Fn() -> F) -> T
where
    T: std::fmt::Debug,
    F: Future<Output = Result<T, reqwest::Error>>,
{
    let start = Instant::now();
    loop {
        let answer = send().await.expect("an answer");
        if !told_to(&answer) {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "still {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A request without a key.
pub fn post(client: &Client, address: SocketAddr, path: &str, new: &NewPayment) -> reqwest::RequestBuilder {
    let body = serde_json::to_vec(new).expect("JSON");
    client.post(format!("http://{address}{path}")).header("content-type", "application/json").body(body)
}

async fn got(response: reqwest::Response) -> Result<Got, reqwest::Error> {
    let text = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
    let (replayed, location) = (text("idempotent-replayed").is_some(), text("location"));
    let status = response.status().as_u16();
    Ok(Got { status, replayed, location, body: response.text().await? })
}

/// A payment by a handler that does nothing unusual.
pub fn payment(reference: &str) -> NewPayment {
    NewPayment { reference: reference.to_owned(), amount: 100, ..app::nothing() }
}

/// 201.
pub const CREATED: u16 = StatusCode::CREATED.as_u16();
