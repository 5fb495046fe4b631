//! What a careful engineer writes into one handler: a claim, a hash of the request, and a response that is stored and
//! replayed.
//!
//! It uses the same hash, map or connection as the attribute. It runs in its own task, because otherwise the
//! response would not be saved when the client hangs up. Over Redis each command has the deadline that the client gives
//! it. docs/performance.md lists what it lacks.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::{Arc, LazyLock, Mutex},
};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use redis::{Script, aio::MultiplexedConnection};
use serde::{Deserialize, Serialize};

use crate::payment::{NewPayment, pay};

const RUNNING: u8 = b'P';
const DONE: u8 = b'D';
/// The header of a record: state, token, hash.
const HEADER: usize = 1 + 16 + 32;
const TTL_MILLIS: usize = 60_000;

/// Made once, because making it hashes the text of the script.
static COMPARE_AND_SET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GETRANGE', KEYS[1], 0, 16) == ARGV[1] then
           redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1
         end
         return 0",
    )
});

type Print = [u8; 32];

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    status: u16,
    #[serde(borrow)]
    headers: Vec<(&'a str, &'a [u8])>,
    body: &'a [u8],
}

/// 64 locks, as in the memory store.
#[derive(Clone)]
pub(crate) struct Map {
    shards: Arc<Vec<Mutex<HashMap<String, Known>>>>,
    hasher: RandomState,
}

struct Known {
    print: Print,
    done: Option<Bytes>,
}

impl Map {
    pub(crate) fn new() -> Self {
        Self { shards: Arc::new((0..64).map(|_| Mutex::default()).collect()), hasher: RandomState::new() }
    }

    fn shard(&self, key: &str) -> &Mutex<HashMap<String, Known>> {
        let index = usize::try_from(self.hasher.hash_one(key) % 64).unwrap();
        self.shards.get(index).unwrap()
    }
}

pub(crate) async fn memory(
    State(map): State<Map>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (key, print) = identify(&method, &uri, &headers, &body);
    in_memory(map, key, print, move || serde_json::from_slice(&body).unwrap()).await
}

pub(crate) async fn memory_extracted(State(map): State<Map>, request: Request) -> Response {
    match extract(request).await {
        Ok((key, print, new)) => in_memory(map, key, print, move || new).await,
        Err(refused) => refused,
    }
}

pub(crate) async fn redis(
    State(connection): State<MultiplexedConnection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (key, print) = identify(&method, &uri, &headers, &body);
    in_redis(connection, key, print, move || serde_json::from_slice(&body).unwrap()).await
}

pub(crate) async fn redis_extracted(State(connection): State<MultiplexedConnection>, request: Request) -> Response {
    match extract(request).await {
        Ok((key, print, new)) => in_redis(connection, key, print, move || new).await,
        Err(refused) => refused,
    }
}

async fn in_memory(map: Map, key: String, print: Print, new: impl FnOnce() -> NewPayment + Send + 'static) -> Response {
    match map.shard(&key).lock().unwrap().entry(key.clone()) {
        Entry::Occupied(known) if known.get().print != print => {
            return StatusCode::UNPROCESSABLE_ENTITY.into_response();
        }
        Entry::Occupied(known) => {
            return known.get().done.as_ref().map_or_else(|| StatusCode::CONFLICT.into_response(), replay);
        }
        Entry::Vacant(free) => free.insert(Known { print, done: None }),
    };
    let run = async move {
        let (response, record) = run(new()).await;
        map.shard(&key).lock().unwrap().get_mut(&key).unwrap().done = Some(record);
        response
    };
    tokio::spawn(run).await.unwrap()
}

async fn in_redis(
    mut connection: MultiplexedConnection,
    key: String,
    print: Print,
    new: impl FnOnce() -> NewPayment + Send + 'static,
) -> Response {
    let token = uuid::Uuid::new_v4();
    let mut claim = Vec::with_capacity(HEADER);
    claim.push(RUNNING);
    claim.extend_from_slice(token.as_bytes());
    claim.extend_from_slice(&print);
    let run = async move {
        let known: Option<Vec<u8>> = ::redis::cmd("SET")
            .arg(&key)
            .arg(&claim)
            .arg("NX")
            .arg("GET")
            .arg("PX")
            .arg(TTL_MILLIS)
            .query_async(&mut connection)
            .await
            .unwrap();
        if let Some(known) = known {
            let known = Bytes::from(known);
            return match (known.first(), known.get(17..HEADER)) {
                (_, found) if found != Some(&print) => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
                (Some(&DONE), _) => replay(&known.slice(HEADER..)),
                _ => StatusCode::CONFLICT.into_response(),
            };
        }
        let (response, record) = run(new()).await;
        let mut done = Vec::with_capacity(HEADER + record.len());
        done.push(DONE);
        done.extend_from_slice(&claim[1..]);
        done.extend_from_slice(&record);
        let _: i32 = COMPARE_AND_SET
            .key(&key)
            .arg(&claim[..17])
            .arg(done)
            .arg(TTL_MILLIS)
            .invoke_async(&mut connection)
            .await
            .unwrap();
        response
    };
    tokio::spawn(run).await.unwrap()
}

/// Reads the body, hashes it, and runs the handler's extractor on the same bytes.
async fn extract(request: Request) -> Result<(String, Print, NewPayment), Response> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let (key, print) = identify(&parts.method, &parts.uri, &parts.headers, &body);
    let Json(new) = Json::from_request(Request::from_parts(parts, Body::from(body)), &())
        .await
        .map_err(IntoResponse::into_response)?;
    Ok((key, print, new))
}

fn identify(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> (String, Print) {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap();
    let mut hash = blake3::Hasher::new();
    hash.update(method.as_str().as_bytes());
    hash.update(uri.path().as_bytes());
    hash.update(body);
    (format!("payments:{method}:{}:{key}", uri.path()), hash.finalize().into())
}

async fn run(new: NewPayment) -> (Response, Bytes) {
    let (parts, body) = pay(new).into_response().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let record = postcard::to_allocvec(&Stored { status: parts.status.as_u16(), headers, body: &body }).unwrap();
    (Response::from_parts(parts, Body::from(body)), record.into())
}

fn replay(record: &Bytes) -> Response {
    let stored: Stored<'_> = postcard::from_bytes(record).unwrap();
    let mut response = Response::new(Body::from(record.slice_ref(stored.body)));
    *response.status_mut() = StatusCode::from_u16(stored.status).unwrap();
    for (name, value) in stored.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        response.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
    }
    response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}
