//! Retries a request that has an idempotency key until its outcome is known. Copy this file into your project.
//!
//! It is a middleware for `reqwest-middleware`. A policy of `retry-policies` decides how often and how fast it tries.

use std::time::{Duration, SystemTime};

use http::{Extensions, HeaderMap};
use http_body_util::BodyExt as _;
use reqwest::{
    Body, Request, Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use reqwest_middleware::{Error, Middleware, Next, Result};
use retry_policies::{RetryDecision, RetryPolicy};
use serde::Deserialize;

/// What a client should do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// The answer is the outcome, or it says what to change in the request. The caller gets it.
    Done,
    /// The same request with the same key may succeed, after the pause that the answer asks for.
    Retry,
    /// The operation may have been carried out, and a retry does not show whether it was. A request with a new key could carry
    /// it out again.
    LookFirst,
}

/// Decides by the last part of the problem's `type` (RFC 9457) if there is one, and otherwise by the status.
pub(crate) fn advice(status: StatusCode, problem: Option<&str>) -> Advice {
    match problem {
        Some("in-flight" | "request-unreadable") => Advice::Retry,
        Some("outcome-unknown" | "not-replayable" | "key-expired" | "key-reused" | "record-unreadable") => {
            Advice::LookFirst
        }
        // 408, 425 and 429 mean "not now". They come from a proxy or a layer in front of the handler.
        _ if status.is_server_error() || [408, 425, 429].contains(&status.as_u16()) => Advice::Retry,
        _ => Advice::Done,
    }
}

/// The error that a caller gets for [`Advice::LookFirst`]. `downcast_ref` finds it in [`Error::Middleware`].
#[derive(Debug, thiserror::Error)]
#[error(
    "the operation may have been carried out: look at the resource before asking for it again ({status} {problem})"
)]
pub(crate) struct LookFirst {
    pub(crate) status: StatusCode,
    /// The last part of the problem's `type`, such as `outcome-unknown`.
    pub(crate) problem: String,
    /// Where the result is, if the service knows.
    pub(crate) location: Option<String>,
}

/// Sends each request that has an `Idempotency-Key` until its outcome is known, or until the policy allows no further try.
/// Then the caller gets the last answer or error, and may retry later with the same key. A request without a key, or with a
/// body that is a stream, is sent once.
///
/// A key belongs to one operation. Make it when the user asks for the operation, and store it with the operation's data, so
/// that it survives a restart of the program. The whole body of a response is read before the caller gets the response,
/// because a body that breaks off is a reason to retry.
pub(crate) struct RetryWithKey<P> {
    pub(crate) policy: P,
}

#[async_trait::async_trait]
impl<P: RetryPolicy + Send + Sync + 'static> Middleware for RetryWithKey<P> {
    async fn handle(&self, request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        let begun = SystemTime::now();
        let mut retries = 0;
        loop {
            let copy = if request.headers().contains_key("idempotency-key") { request.try_clone() } else { None };
            let Some(copy) = copy else { return next.run(request, extensions).await };
            let answer = match next.clone().run(copy, extensions).await {
                Ok(response) => with_problem(response).await,
                Err(error) => Err(error),
            };
            let pause = match &answer {
                Ok((response, problem)) => match advice(response.status(), problem.as_deref()) {
                    Advice::Done => return answer.map(|(response, _)| response),
                    Advice::LookFirst => return Err(look_first(response, problem.as_deref())),
                    Advice::Retry => retry_after(response.headers()),
                },
                // The request may have arrived, and its answer may be lost.
                Err(Error::Reqwest(error)) if !error.is_builder() && !error.is_redirect() => None,
                Err(_) => return answer.map(|(response, _)| response),
            };
            let RetryDecision::Retry { execute_after } = self.policy.should_retry(begun, retries) else {
                return answer.map(|(response, _)| response);
            };
            let backoff = execute_after.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::time::sleep(backoff.max(pause.unwrap_or_default())).await;
            retries += 1;
        }
    }
}

/// The response with its whole body, and the last part of the problem's `type` if it is a problem.
async fn with_problem(response: Response) -> Result<(Response, Option<String>)> {
    #[derive(Deserialize)]
    struct Problem {
        r#type: String,
    }

    let (parts, body) = http::Response::<Body>::from(response).into_parts();
    let body = body.collect().await?.to_bytes();
    let kind =
        parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    let problem = kind.then(|| serde_json::from_slice::<Problem>(&body).ok()).flatten();
    let slug = problem.and_then(|problem| problem.r#type.rsplit(['#', '/']).next().map(str::to_owned));
    Ok((Response::from(http::Response::from_parts(parts, body)), slug))
}

/// The pause that `Retry-After` asks for. Its value is seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok(),
    }
}

fn look_first(response: &Response, problem: Option<&str>) -> Error {
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned);
    Error::middleware(LookFirst {
        status: response.status(),
        problem: problem.unwrap_or_default().to_owned(),
        location,
    })
}
