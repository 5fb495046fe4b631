//! Changes responses after the attribute has made them.

use axum::{
    body::{Body, to_bytes},
    http::{
        StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER},
    },
    response::Response,
};

use super::{broken::Broken, memory::Memory, service::value};

pub(super) async fn change(broken: Broken, mut response: Response, key: &str, memory: &Memory) -> Response {
    let is_replay = response.headers().contains_key("idempotent-replayed");
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    match broken {
        Broken::Status if is_replay => *response.status_mut() = StatusCode::OK,
        Broken::Lost(name) if is_replay => {
            response.headers_mut().remove(name);
        }
        Broken::Body if is_replay => response = with_body(response, |body| format!("{body}\n")).await,
        Broken::Replayed(name) => {
            if name == DATE && !is_replay {
                let date = httpdate::fmt_http_date(std::time::SystemTime::now());
                response.headers_mut().insert(DATE, value(&date));
            }
            let first = memory.first(key, response.headers());
            if let (true, Some(first)) = (is_replay, first.get(name)) {
                response.headers_mut().insert(HeaderName::from_static(name), first.clone());
            }
        }
        Broken::RetryAfter => {
            response.headers_mut().remove(RETRY_AFTER);
        }
        Broken::MediaType if is_problem => {
            response.headers_mut().insert(CONTENT_TYPE, value("application/json"));
        }
        Broken::ProblemStatus if is_problem => {
            response = with_body(response, |body| body.replace("\"status\":4", "\"status\":5")).await;
        }
        Broken::Secret if is_problem => {
            response = with_body(response, |body| body.replace("\"title\":\"", "\"title\":\"alice-token ")).await;
        }
        Broken::StackTrace if is_problem => {
            response =
                with_body(response, |body| body.replace("\"title\":\"", "\"title\":\"Error\\n    at pay (shop.js:1) "))
                    .await;
        }
        _ => {}
    }
    response
}

async fn with_body(response: Response, change: impl FnOnce(&str) -> String) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(change(str::from_utf8(&bytes).unwrap())))
}
