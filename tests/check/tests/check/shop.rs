//! A service that keeps all rules and makes all of them visible.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{FromRef, FromRequestParts, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use idempotent_runtime::{Idempotency, MemoryStore, Replay, Store, idempotent};
use serde::Deserialize;
use tokio::{net::TcpListener, time::sleep};

/// What was ordered. All services of a test share it, as replicas share a database.
#[derive(Clone, Default)]
pub(crate) struct Orders(Arc<AtomicU64>);

impl Orders {
    pub(crate) fn add(&self) -> u64 {
        self.0.fetch_add(1, SeqCst) + 1
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

#[derive(Clone, FromRef)]
pub(crate) struct Shop {
    pub(crate) idempotency: Idempotency,
    pub(crate) orders: Orders,
}

impl Shop {
    pub(crate) fn new(store: impl Store) -> Self {
        Self::with(store, Orders::default())
    }

    /// A service with orders that it shares with others.
    pub(crate) fn with(store: impl Store, orders: Orders) -> Self {
        // The timeout is long, so that a busy machine does not look like an outage.
        Self { idempotency: Idempotency::builder(store).store_timeout(Duration::from_secs(30)).build(), orders }
    }

    /// Handlers with the rules as they should be.
    pub(crate) fn routes(&self) -> Router {
        self.routes_to(post(pay).put(pay))
    }

    pub(crate) fn routes_to(&self, pay: axum::routing::MethodRouter<Self>) -> Router {
        Router::new()
            .route("/payments", pay.clone())
            .route("/refunds", pay)
            .route("/short", post(pay_for_two_seconds))
            .route("/payments/count", get(async |State(orders): State<Orders>| orders.count().to_string()))
            .with_state(self.clone())
    }
}

/// A shop in this process, with its store in memory.
pub(crate) async fn start() -> SocketAddr {
    serve(Shop::new(MemoryStore::new()).routes()).await
}

/// Serves routes on a free port for as long as the test runs.
pub(crate) async fn serve(routes: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// The options with which all of it can be seen, but for replicas, restarts and lifetimes.
pub(crate) fn options(address: SocketAddr) -> Vec<String> {
    options_with(address, 1_000)
}

/// The same with a slow request that takes so many milliseconds.
pub(crate) fn options_with(address: SocketAddr, slow: u32) -> Vec<String> {
    let url = |path: &str| format!("http://{address}{path}");
    let pairs = [
        ("--body", r#"{"account":"alice","amount":1200,"fee":null}"#.to_owned()),
        ("--vary", "amount".to_owned()),
        ("--effects", url("/payments/count")),
        ("--auth", "Bearer alice-token".to_owned()),
        ("--other-auth", "Bearer bob-token".to_owned()),
        ("--slow", format!("X-Delay: {slow}")),
        ("--failing", "X-Status: 503".to_owned()),
        ("--limited", "X-Status: 429".to_owned()),
        ("--other-url", url("/refunds")),
        ("--other-method", "PUT".to_owned()),
        // A busy machine needs longer.
        ("--timeout", "60s".to_owned()),
    ];
    let options = pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    [url("/payments"), "--yes".to_owned()].into_iter().chain(options).collect()
}

/// The caller who has logged in.
pub(crate) struct User;

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.headers.contains_key(AUTHORIZATION).then_some(Self).ok_or(StatusCode::UNAUTHORIZED)
    }
}

#[derive(Deserialize)]
pub(crate) struct Payment {
    account: String,
    amount: f64,
}

/// Handlers of one payment, which differ by the options of their attribute.
macro_rules! pays {
    ($name:ident: $($options:tt)*) => {
        #[idempotent($($options)*)]
        pub(crate) async fn $name(
            State(shop): State<Shop>,
            _: User,
            wishes: HeaderMap,
            Json(payment): Json<Payment>,
        ) -> Response {
            carry_out(&shop, &wishes, &payment).await
        }
    };
}

pays!(pay: ttl = "24h");
pays!(pay_without_a_key: ttl = "24h", required = false);
pays!(pay_for_any_request: ttl = "24h", fingerprint = "none");
pays!(pay_and_wait: ttl = "24h", wait = "30s");
pays!(pay_for_two_seconds: ttl = "2s", lease = "2s");

/// The attribute's fingerprint by value: a body that is written in another way is the same request.
#[idempotent(ttl = "24h", fingerprint = (&payment.account, payment.amount.to_bits()))]
pub(crate) async fn pay_by_value(
    State(shop): State<Shop>,
    _: User,
    wishes: HeaderMap,
    Json(payment): Json<Payment>,
) -> Response {
    carry_out(&shop, &wishes, &payment).await
}

/// No attribute at all.
pub(crate) async fn pay_unprotected(
    State(shop): State<Shop>,
    _: User,
    wishes: HeaderMap,
    Json(payment): Json<Payment>,
) -> Response {
    carry_out(&shop, &wishes, &payment).await
}

/// Takes as long, and answers with the status, that the headers ask for.
pub(crate) async fn carry_out(shop: &Shop, wishes: &HeaderMap, payment: &Payment) -> Response {
    let wish = |name| wishes.get(name).and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
    sleep(Duration::from_millis(wish("x-delay").unwrap_or(0))).await;
    if let Some(status) = wish("x-status") {
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok()).unwrap();
        return if wishes.contains_key("x-pinned") {
            (Replay::Keep, status).into_response()
        } else {
            status.into_response()
        };
    }
    let id = shop.orders.add();
    let headers = [
        ("location", format!("/payments/{id}")),
        ("etag", format!("\"{id}\"")),
        ("set-cookie", format!("session={id}")),
        ("x-request-id", format!("request-{id}")),
        ("ratelimit-remaining", format!("{}", 1_000_000 - id)),
    ];
    let body = format!(r#"{{"id":{id},"account":"{}","amount":{}}}"#, payment.account, payment.amount);
    (StatusCode::CREATED, [("content-type", "application/json")], headers.map(|(name, value)| (name, value)), body)
        .into_response()
}
