//! Changes requests before the attribute sees them. Mostly it changes the key: a request whose key was replaced by a new
//! one runs.

use std::{net::SocketAddr, pin::pin, time::Duration};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{ConnectInfo, OriginalUri, Request},
    http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use uuid::Uuid;

use super::{
    broken::Broken,
    service::{Process, value},
};

const KEY: &str = "idempotency-key";
const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// The key of a request, or an empty text.
pub(super) fn key(request: &Request) -> String {
    request.headers().get(KEY).map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned()).unwrap_or_default()
}

/// Gives the request its own key.
pub(super) fn rename(request: &mut Request) {
    request.headers_mut().insert(KEY, value(&Uuid::new_v4().to_string()));
}

/// The request as a service that has the rule switched off takes it, or its answer.
pub(super) async fn change(process: &Process, mut request: Request) -> Result<Request, Response> {
    let (broken, key) = (process.broken, key(&request));
    if broken == Broken::LongKeys && key.len() > 64 {
        return Err(StatusCode::BAD_REQUEST.into_response());
    }
    let lines = lines(&request);
    let changed = match broken {
        Broken::KeyEmpty if lines == 1 && key.is_empty() => Some("empty".to_owned()),
        Broken::CutKeys => key.get(..255).map(str::to_owned),
        Broken::NotAscii if !key.is_ascii() => Some(key.replace(|c: char| !c.is_ascii(), "_")),
        Broken::Quotes if key.starts_with('"') => Some(format!("quoted-{}", key.split('"').nth(1).unwrap_or_default())),
        Broken::Parameters if key.contains("\";") => Some(key.replace(['"', ';', '='], "_")),
        Broken::TwoLines if lines > 1 => Some(key.clone()),
        Broken::JoinedLines if key.contains(", ") => Some(key.replace(", ", "_")),
        Broken::Nil if key == NIL => Some("nil".to_owned()),
        _ => None,
    };
    if let Some(changed) = changed {
        request.headers_mut().insert(KEY, value(&changed));
    }
    match broken {
        Broken::Query => {
            let path = request.uri().path().to_owned();
            go_to(&mut request, &path);
        }
        Broken::Path if request.uri().path() == "/refunds" => go_to(&mut request, "/payments"),
        Broken::Method if request.method() == Method::PUT => *request.method_mut() = Method::POST,
        Broken::ContentType => {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Broken::Connection => {
            let connection = request.extensions().get::<ConnectInfo<SocketAddr>>().unwrap().0;
            if !key.is_empty() && !process.memory.is_first_on(connection, &key) {
                rename(&mut request);
            }
        }
        Broken::AfterRefusal | Broken::Disconnect if process.memory.is_freed(&key) => rename(&mut request),
        Broken::SlowBody => return Ok(without_patience(request).await),
        Broken::BodyInKey
        | Broken::Claim
        | Broken::HalfBody
        | Broken::LockedByHead
        | Broken::OtherWhileRunning
        | Broken::Pinned(400) => return by_body(process, request, &key).await,
        _ => {}
    }
    Ok(request)
}

/// Reads the whole body first.
async fn by_body(process: &Process, request: Request, key: &str) -> Result<Request, Response> {
    let (broken, memory) = (process.broken, &process.memory);
    if broken == Broken::LockedByHead && memory.is_freed(key) {
        return Err(StatusCode::CONFLICT.into_response());
    }
    let (parts, body) = request.into_parts();
    let (bytes, is_whole) = collect(body).await;
    if !is_whole {
        match broken {
            Broken::LockedByHead if bytes.is_empty() => memory.free(key),
            Broken::HalfBody if !bytes.is_empty() => drop(process.orders.add()),
            _ => {}
        }
        return Err(StatusCode::BAD_REQUEST.into_response());
    }
    let mut request = Request::from_parts(parts, Body::from(bytes.clone()));
    let bare = key.split('"').nth(1).unwrap_or(key);
    let is_one_uuid = Uuid::try_parse(bare).is_ok_and(|key| !key.is_nil()) && lines(&request) == 1;
    if broken == Broken::BodyInKey && is_one_uuid {
        let sum = bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        request.headers_mut().insert(KEY, value(&format!("{bare}-{sum}")));
    }
    request.extensions_mut().insert(bytes);
    Ok(request)
}

fn lines(request: &Request) -> usize {
    request.headers().get_all(KEY).iter().count()
}

/// Changes the path, also for those who look at how it arrived.
fn go_to(request: &mut Request, path: &str) {
    *request.uri_mut() = path.parse().unwrap();
    let uri = request.uri().clone();
    request.extensions_mut().insert(OriginalUri(uri));
}

/// Whoever sends a body slowly is taken for somebody else.
async fn without_patience(request: Request) -> Request {
    let (parts, body) = request.into_parts();
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    let is_quick = tokio::time::timeout(Duration::from_millis(50), append(body.as_mut(), &mut bytes)).await.is_ok();
    if !is_quick {
        append(body, &mut bytes).await;
    }
    let mut request = Request::from_parts(parts, Body::from(bytes));
    if !is_quick {
        rename(&mut request);
    }
    request
}

/// The bytes that arrived, and whether they are all.
async fn collect(body: Body) -> (Bytes, bool) {
    let mut bytes = Vec::new();
    let is_whole = append(pin!(body), &mut bytes).await;
    (bytes.into(), is_whole)
}

async fn append(mut body: std::pin::Pin<&mut Body>, bytes: &mut Vec<u8>) -> bool {
    loop {
        match std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap_or_default()),
        }
    }
}
