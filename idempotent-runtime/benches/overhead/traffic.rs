//! Sends the requests, in process or over loopback, and times them.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{
        Request, StatusCode,
        header::{CONTENT_TYPE, HOST},
    },
};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use idempotent_runtime::{Idempotency, MemoryStore, RedisStore};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;
use uuid::Uuid;

use crate::{
    by_hand,
    handlers::{self, Variant},
    redis_server::RedisServer,
};

/// So many requests are under way at once.
pub(crate) const CONCURRENT: usize = 64;

const BODY: &str = r#"{"account":"alice","amount":100,"currency":"EUR","note":"the kind of body that an order has, not long and not short"}"#;

/// Where the claims are.
pub(crate) enum Backend {
    Memory,
    Redis(RedisServer),
}

/// How a request reaches the router.
#[derive(Clone, Copy)]
pub(crate) enum Transport {
    InProcess,
    Loopback,
}

/// What a request's key has seen before.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    First,
    Replay,
}

impl Backend {
    pub(crate) fn all() -> [Self; 2] {
        [Self::Memory, Self::Redis(RedisServer::start())]
    }

    /// A router of its own for every sample, so that no sample pays for the records of an earlier one.
    async fn router(&self, variant: Variant) -> Router {
        match (variant, self) {
            (Variant::Bare, _) => handlers::bare_router(),
            (Variant::ByHand, Self::Memory) => handlers::memory_by_hand_router(by_hand::Map::new()),
            (Variant::ByHand, Self::Redis(server)) => {
                let client = redis::Client::open(server.url() + "?protocol=resp3").unwrap();
                handlers::redis_by_hand_router(client.get_multiplexed_async_connection().await.unwrap())
            }
            (Variant::Attribute, Self::Memory) => {
                let store = MemoryStore::builder().max_records(usize::MAX).max_bytes(usize::MAX).build();
                handlers::attribute_router(Idempotency::new(store))
            }
            (Variant::Attribute, Self::Redis(server)) => {
                handlers::attribute_router(Idempotency::new(RedisStore::connect(&server.url()).await.unwrap()))
            }
        }
    }

    async fn forget(&self) {
        if let Self::Redis(server) = self {
            let client = redis::Client::open(server.url()).unwrap();
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
        }
    }
}

/// Sends `iterations` requests, so many at once, and returns how long that took.
pub(crate) async fn time(
    backend: &Backend,
    transport: Transport,
    phase: Phase,
    variant: Variant,
    iterations: u64,
) -> Duration {
    backend.forget().await;
    let path = Path::open(transport, backend.router(variant).await).await;
    let keys: Vec<String> = match phase {
        Phase::First => (0..iterations).map(|_| Uuid::new_v4().to_string()).collect(),
        Phase::Replay => {
            let known: Vec<String> = (0..CONCURRENT).map(|_| Uuid::new_v4().to_string()).collect();
            path.send_all(known.clone()).await;
            known.into_iter().cycle().take(usize::try_from(iterations).unwrap()).collect()
        }
    };
    let started = Instant::now();
    path.send_all(keys).await;
    started.elapsed()
}

/// A way to a router that is ready to be used.
#[derive(Clone)]
enum Path {
    InProcess(Router),
    Loopback(SocketAddr),
}

impl Path {
    async fn open(transport: Transport, router: Router) -> Self {
        match transport {
            Transport::InProcess => Self::InProcess(router),
            Transport::Loopback => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                tokio::spawn(async move { axum::serve(listener, router).await });
                Self::Loopback(address)
            }
        }
    }

    /// As many senders as requests may be under way, each with a share of the keys and, over loopback, a connection.
    async fn send_all(&self, keys: Vec<String>) {
        let mut shares: Vec<Vec<String>> = vec![Vec::new(); CONCURRENT];
        keys.into_iter().enumerate().for_each(|(index, key)| shares[index % CONCURRENT].push(key));
        let senders =
            shares.into_iter().filter(|share| !share.is_empty()).map(|share| tokio::spawn(self.clone().send(share)));
        for sender in senders.collect::<Vec<_>>() {
            sender.await.unwrap();
        }
    }

    async fn send(self, keys: Vec<String>) {
        match self {
            Self::InProcess(router) => {
                for key in keys {
                    let response = router.clone().oneshot(request(&key)).await.unwrap();
                    assert_eq!(response.status(), StatusCode::CREATED);
                    response.into_body().collect().await.unwrap();
                }
            }
            Self::Loopback(address) => {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
                let connection = tokio::spawn(connection);
                for key in keys {
                    let response = sender.send_request(request(&key)).await.unwrap();
                    assert_eq!(response.status(), StatusCode::CREATED);
                    response.into_body().collect().await.unwrap();
                }
                connection.abort();
            }
        }
    }
}

fn request(key: &str) -> Request<Body> {
    Request::post("/payments")
        .header(HOST, "127.0.0.1")
        .header(CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Body::from(BODY))
        .unwrap()
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Redis(_) => "redis",
        })
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InProcess => "in process",
            Self::Loopback => "loopback",
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Replay => "replay",
        })
    }
}
