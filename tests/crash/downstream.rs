//! An effect in another service: a payment provider that is itself idempotent. The handler dies after it has charged.

#![allow(clippy::missing_panics_doc)]

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::{
    Json, Router,
    extract::{FromRef, Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use idempotent_runtime::{Claim, Idempotency, MemoryStore, idempotent};
use reqwest::Client;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use uuid::Uuid;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Charge {
    receipt: Uuid,
}

/// The provider. It makes one charge for each key, and can be asked what was charged for a key.
#[derive(Clone, Default)]
struct Provider {
    charges: Arc<Mutex<HashMap<String, Charge>>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    fn routes(&self) -> Router {
        let charge = async |State(provider): State<Self>, headers: HeaderMap| {
            let key = headers["idempotency-key"].to_str().expect("text").to_owned();
            provider.asked.fetch_add(1, SeqCst);
            let mut charges = provider.charges.lock().expect("no panic");
            (StatusCode::CREATED, Json(charges.entry(key).or_insert(Charge { receipt: Uuid::new_v4() }).clone()))
        };
        let find = async |State(provider): State<Self>, Path(key): Path<String>| {
            provider.charges.lock().expect("no panic").get(&key).cloned().map(Json).ok_or(StatusCode::NOT_FOUND)
        };
        Router::new().route("/charges", post(charge)).route("/charges/{key}", get(find)).with_state(self.clone())
    }

    fn charges(&self) -> usize {
        self.charges.lock().expect("no panic").len()
    }
}

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    shop: Shop,
}

#[derive(Clone)]
struct Shop {
    provider: SocketAddr,
    client: Client,
    /// How many attempts die after having charged.
    deaths: Arc<AtomicUsize>,
}

impl Shop {
    async fn charge(&self, key: Uuid) -> Charge {
        let request = self.client.post(format!("http://{}/charges", self.provider));
        let sent = request.header("idempotency-key", key.to_string()).send().await.expect("the provider answers");
        let charge = serde_json::from_slice(&sent.bytes().await.expect("a body")).expect("a charge");
        let dies = self.deaths.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        assert!(!dies, "a crash after the charge");
        charge
    }

    async fn find(&self, key: Uuid) -> Option<Charge> {
        let url = format!("http://{}/charges/{key}", self.provider);
        let found = self.client.get(url).send().await.expect("the provider answers");
        let found = found.error_for_status().ok()?;
        serde_json::from_slice(&found.bytes().await.expect("a body")).ok()
    }
}

/// The provider recognises the second attempt by the key.
#[idempotent(ttl = "24h")]
async fn charge(State(shop): State<Shop>, claim: Claim) -> (StatusCode, Json<Charge>) {
    (StatusCode::CREATED, Json(shop.charge(claim.derive_key("provider")).await))
}

/// The second attempt asks the provider before it charges.
#[idempotent(ttl = "24h")]
async fn look_and_charge(State(shop): State<Shop>, claim: Claim) -> (StatusCode, Json<Charge>) {
    let key = claim.derive_key("provider");
    let charged = if claim.recovering() { shop.find(key).await } else { None };
    let charge = match charged {
        Some(charge) => charge,
        None => shop.charge(key).await,
    };
    (StatusCode::CREATED, Json(charge))
}

async fn serve(routes: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, routes).await.expect("serves") });
    address
}

/// Starts the provider and a shop whose first attempts die. Returns the provider and the shop's address.
async fn stage(deaths: usize) -> (Provider, SocketAddr) {
    let provider = Provider::default();
    let shop = Shop {
        provider: serve(provider.routes()).await,
        client: Client::new(),
        deaths: Arc::new(AtomicUsize::new(deaths)),
    };
    let app = App { idempotency: Idempotency::new(MemoryStore::new()), shop };
    let routes = Router::new().route("/charge", post(charge)).route("/look", post(look_and_charge)).with_state(app);
    (provider, serve(routes).await)
}

/// Returns `None` when the connection broke, because the attempt died.
async fn ask(address: SocketAddr, path: &str, key: &str) -> Option<Charge> {
    let request = Client::new().post(format!("http://{address}{path}")).header("idempotency-key", key);
    let answer = request.send().await.ok()?;
    assert_eq!(answer.status().as_u16(), 201);
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("a charge")
}

#[tokio::test]
async fn a_provider_recognises_every_attempt_by_the_derived_key() {
    let (provider, shop) = stage(3).await;
    for _ in 0..3 {
        assert_eq!(ask(shop, "/charge", "k").await, None, "it died after it had charged");
    }
    let charge = ask(shop, "/charge", "k").await.expect("a charge");
    assert_eq!((provider.asked.load(SeqCst), provider.charges()), (4, 1), "asked four times, charged once");
    assert_eq!(ask(shop, "/charge", "k").await, Some(charge.clone()));
    assert_ne!(ask(shop, "/charge", "another").await, Some(charge));
    assert_eq!(provider.charges(), 2);
}

#[tokio::test]
async fn a_recovering_attempt_finds_what_its_predecessor_charged() {
    let (provider, shop) = stage(1).await;
    assert_eq!(ask(shop, "/look", "k").await, None, "it died after it had charged");
    let charge = ask(shop, "/look", "k").await.expect("a charge");
    assert_eq!((provider.asked.load(SeqCst), provider.charges()), (1, 1), "asked once, and looked at once");
    assert_eq!(ask(shop, "/look", "k").await, Some(charge));
}
