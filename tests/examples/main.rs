//! Runs the examples as their readers do: as programs, over HTTP, and in a browser.

mod checkout;
mod client;
mod grpc;
mod messages;
mod page;
mod payments_api;
mod postgres;
mod quickstart;
mod readme;
mod redelivered;
mod redis_and_postgres;
mod scrape;
mod webhooks;

use std::time::{Duration, Instant};

use reqwest::RequestBuilder;

/// How long a test waits for something that must happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a request, and returns the status, whether the answer is a replay, and the body.
async fn send(request: RequestBuilder) -> (u16, bool, String) {
    let answer = request.header("content-type", "application/json").send().await.unwrap();
    let replayed = answer.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
    (answer.status().as_u16(), replayed, answer.text().await.unwrap())
}

/// The same again after a pause, for as long as the service says that its store is not available: an example has the default
/// time-out, so an answer may be late on a busy machine.
async fn send_until_answered(request: RequestBuilder) -> (u16, bool, String) {
    let begun = Instant::now();
    loop {
        let answer = send(request.try_clone().unwrap()).await;
        if answer.0 != 503 || begun.elapsed() > PATIENCE {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
