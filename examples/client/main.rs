//! Sends a payment, and retries it with the same key until the outcome is known.
//!
//! Start a service with `cargo run --example quickstart` in another terminal. Then run
//! `cargo run --example client -- http://127.0.0.1:3000/payments order-1 4200`.

mod retry_with_key;

use std::{env, error::Error, time::Duration};

use reqwest::{Client, header::CONTENT_TYPE};
use reqwest_middleware::ClientBuilder;
use retry_policies::policies::ExponentialBackoff;
use retry_with_key::RetryWithKey;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, key, body] = arguments.try_into().map_err(|_| "say what to send: URL KEY BODY")?;
    // A try that takes longer than this has failed. It is longer than the service's `wait`.
    let client = Client::builder().timeout(Duration::from_secs(10)).build()?;
    let policy = ExponentialBackoff::builder()
        .retry_bounds(Duration::from_millis(200), Duration::from_secs(10))
        .build_with_max_retries(8);
    let client = ClientBuilder::new(client).with(RetryWithKey { policy }).build();

    let request = client.post(url).header("Idempotency-Key", key).header(CONTENT_TYPE, "application/json").body(body);
    let response = request.send().await.map_err(|error| error.to_string())?;
    let replayed = response.headers().contains_key("idempotent-replayed");
    println!("{}{}", response.status(), if replayed { ", a replay" } else { "" });
    print!("{}", response.text().await?);
    Ok(())
}
