//! A service with one rule switched off: the shop, with a layer around it that spoils what the rule says.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::{Idempotency, MemoryStore};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt as _;

use super::{broken::Broken, memory::Memory, requests, responses};
use crate::shop::{self, Orders, Shop};

pub(super) struct Service {
    address: SocketAddr,
    replica: SocketAddr,
}

impl Service {
    /// All options but the lifetime. The slow request takes so many milliseconds.
    pub(super) fn arguments(&self, slow: u32) -> Vec<String> {
        let more = [
            "--replica".to_owned(),
            format!("http://{}/payments", self.replica),
            "--restart".to_owned(),
            format!("curl -fsS http://{}/restart", self.address),
            "--format".to_owned(),
            "json".to_owned(),
            "--strict".to_owned(),
        ];
        shop::options_with(self.address, slow).into_iter().chain(more).collect()
    }
}

/// One process of the service.
pub(super) struct Process {
    pub(super) broken: Broken,
    pub(super) orders: Orders,
    pub(super) memory: Memory,
    routes: std::sync::Mutex<Router>,
    store: Arc<MemoryStore>,
}

pub(super) async fn start(broken: Broken) -> Service {
    let (orders, store) = (Orders::default(), Arc::new(MemoryStore::new()));
    let of_replica = if broken == Broken::Replicas { Arc::new(MemoryStore::new()) } else { store.clone() };
    let (address, replica) = (serve(broken, &orders, store).await, serve(broken, &orders, of_replica).await);
    let address = if broken == Broken::HeaderCase { forget_upper_case(address).await } else { address };
    Service { address, replica }
}

async fn serve(broken: Broken, orders: &Orders, store: Arc<MemoryStore>) -> SocketAddr {
    let routes = std::sync::Mutex::new(routes(broken, orders, store.clone()));
    let process = Arc::new(Process { broken, orders: orders.clone(), memory: Memory::default(), routes, store });
    shop::serve(Router::new().fallback(around).with_state(process)).await
}

fn routes(broken: Broken, orders: &Orders, store: Arc<MemoryStore>) -> Router {
    let builder = Idempotency::builder(store);
    let builder = match broken {
        Broken::Callers => builder.credentials(std::iter::empty::<&str>()),
        Broken::Link => builder.problem_base("errors/"),
        _ => builder,
    };
    let shop = Shop { idempotency: builder.build(), orders: orders.clone() };
    match broken {
        Broken::Attribute => shop.routes_to(post(shop::pay_unprotected).put(shop::pay_unprotected)),
        Broken::KeyMissing => shop.routes_to(post(shop::pay_without_a_key).put(shop::pay_without_a_key)),
        Broken::Fingerprint => shop.routes_to(post(shop::pay_for_any_request).put(shop::pay_for_any_request)),
        Broken::OnlyOtherwiseByValue => shop.routes_to(post(shop::pay_by_value).put(shop::pay_by_value)),
        Broken::OnlyOtherwiseWaiting => shop.routes_to(post(shop::pay_and_wait).put(shop::pay_and_wait)),
        _ => shop.routes(),
    }
}

impl Process {
    /// A new process in place of this one. It has the store of the old one, unless that was in its memory.
    fn restart(&self) {
        let store = if self.broken == Broken::Restarts { Arc::new(MemoryStore::new()) } else { self.store.clone() };
        *self.routes.lock().unwrap() = routes(self.broken, &self.orders, store);
    }
}

async fn around(State(process): State<Arc<Process>>, request: Request) -> Response {
    match request.uri().path() {
        "/restart" => {
            process.restart();
            return StatusCode::OK.into_response();
        }
        "/payments/count" => return run(&process, request).await,
        _ => {}
    }
    let (broken, memory) = (process.broken, &process.memory);
    let request = match requests::change(&process, request).await {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    let key = requests::key(&request);
    let is_with_login = request.headers().contains_key("authorization");
    if let Some(status) = memory.pinned(&key) {
        return status.into_response();
    }
    let is_slow = request.headers().contains_key("x-delay");
    if matches!(broken, Broken::Claim | Broken::OtherWhileRunning) && is_slow {
        return without_claim(process, request, key).await;
    }
    let leaving = (broken == Broken::Disconnect).then(|| memory.watch(&key));
    let response = run(&process, request).await;
    if let Some(leaving) = leaving {
        tokio::time::sleep(Duration::from_millis(150)).await;
        leaving.stayed();
    }
    if broken == Broken::AfterRefusal && response.status() == StatusCode::UNPROCESSABLE_ENTITY {
        memory.free(&key);
    }
    if broken == Broken::Pinned(response.status().as_u16())
        && !key.is_empty()
        && is_first_fault(&response, is_with_login)
    {
        memory.pin(&key, response.status());
    }
    responses::change(broken, response, &key, memory).await
}

/// While a request runs, another one with its key runs too. The attempt of a client that has left goes on.
async fn without_claim(process: Arc<Process>, mut request: Request, key: String) -> Response {
    let body = request.extensions().get::<Bytes>().cloned().unwrap_or_default();
    let (is_first, is_same) = process.memory.begin(&key, &body);
    if !is_first && (process.broken == Broken::Claim || !is_same) {
        requests::rename(&mut request);
    }
    let attempt = tokio::spawn(async move {
        let response = run(&process, request).await;
        if is_first {
            process.memory.end(&key);
        }
        response
    });
    attempt.await.unwrap()
}

/// Errors that are about the key itself are no response to an operation.
fn is_first_fault(response: &Response, is_with_login: bool) -> bool {
    let is_problem = response.headers().get("content-type").is_some_and(|kind| kind == "application/problem+json");
    !is_problem && (is_with_login || response.status() == StatusCode::UNAUTHORIZED)
}

async fn run(process: &Process, request: Request) -> Response {
    let routes = process.routes.lock().unwrap().clone();
    routes.oneshot(request).await.unwrap()
}

/// A proxy that spoils the name of the header if it is in upper case.
async fn forget_upper_case(service: SocketAddr) -> SocketAddr {
    const UPPER: &[u8] = b"IDEMPOTENCY-KEY";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let server = TcpStream::connect(service).await?;
                let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
                let mut buffer = vec![0; 64 * 1024];
                loop {
                    let length = from_client.read(&mut buffer).await?;
                    if length == 0 {
                        return to_server.shutdown().await;
                    }
                    let bytes = &mut buffer[..length];
                    if let Some(at) = bytes.windows(UPPER.len()).position(|part| part == UPPER) {
                        bytes[at..at + UPPER.len()].copy_from_slice(b"X-UNKNOWN-LINES");
                    }
                    to_server.write_all(bytes).await?;
                }
            });
        }
    });
    address
}

/// For the names of headers that a test gives.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap()
}
