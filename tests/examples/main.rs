//! The examples as their readers run them: as programs, over HTTP, and in a browser.

mod checkout;
mod client;
mod page;
mod payments_api;
mod postgres;
mod quickstart;
mod scrape;
mod webhooks;

use reqwest::RequestBuilder;

/// Status, whether it is a replay, and body.
async fn send(request: RequestBuilder) -> (u16, bool, String) {
    let answer = request.header("content-type", "application/json").send().await.unwrap();
    let replayed = answer.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
    (answer.status().as_u16(), replayed, answer.text().await.unwrap())
}
