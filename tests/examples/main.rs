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

use reqwest::RequestBuilder;

/// Sends a request, and returns the status, whether the answer is a replay, and the body.
async fn send(request: RequestBuilder) -> (u16, bool, String) {
    let answer = request.header("content-type", "application/json").send().await.unwrap();
    let replayed = answer.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
    (answer.status().as_u16(), replayed, answer.text().await.unwrap())
}
