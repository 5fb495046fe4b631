//! Sends a request with an idempotency key again until it is known what became of it. Copy this file into your project.
//!
//! A middleware for `reqwest-middleware`; how often and how fast it tries is a policy of `retry-policies`.

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

/// What a client does about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// It is the outcome, or says what to change in the request. The caller has to see it.
    Done,
    /// The same request with the same key may succeed, after the pause that the answer asks for.
    Retry,
    /// The operation may have been carried out, and a retry cannot tell. A new key could carry it out again.
    LookFirst,
}

/// Decides by the status, and where the service explains it, by the last part of the problem's `type` (RFC 9457).
pub(crate) fn advice(status: StatusCode, problem: Option<&str>) -> Advice {
    match problem {
        Some("in-flight" | "request-unreadable") => Advice::Retry,
        Some("outcome-unknown" | "not-replayable" | "key-expired" | "key-reused" | "record-unreadable") => {
            Advice::LookFirst
        }
        // 408, 425 and 429 say "not now". They come from what is in front of the operation.
        _ if status.is_server_error() || [408, 425, 429].contains(&status.as_u16()) => Advice::Retry,
        _ => Advice::Done,
    }
}

/// The answer to [`Advice::LookFirst`]. A caller finds it by `downcast_ref` in [`Error::Middleware`].
#[derive(Debug, thiserror::Error)]
#[error("the operation may have been carried out: look at the resource before asking for it anew ({status} {problem})")]
pub(crate) struct LookFirst {
    pub(crate) status: StatusCode,
    /// The last part of the problem's `type`, such as `outcome-unknown`.
    pub(crate) problem: String,
    /// Where the result is, if the service knows.
    pub(crate) location: Option<String>,
}

/// Sends each request that has an `Idempotency-Key` until its outcome is known or the policy ends. When it ends, the last
/// answer or error goes to the caller; the operation may be asked for later with the same key. A request without a key, or
/// with a body that is a stream, is sent once.
///
/// A key belongs to one operation. Make it when the user asks for the operation, and keep it with what is asked for, so that
/// a restart of the program keeps it too. The response's body is read before it is handed on, since it may break off.
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
                // It may have arrived, and its answer was lost.
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

/// The response with all of its body, and what kind of problem it describes.
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

/// Seconds or a date (RFC 9110, section 10.2.3).
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
