//! Tests the OpenAPI document of the example `payments`, and the page that shows it, in a real browser.

use std::path::Path;

use serde_json::Value;
use support::{browser::Browser, example::Example};

#[tokio::test]
async fn the_service_serves_its_document_and_a_page_that_shows_all_of_it() {
    let service = Example::start("payments", &[]);
    let answer = reqwest::get(service.url("/openapi.json")).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let document: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let pay = &document["paths"]["/payments"]["post"];
    assert_eq!(pay["parameters"][0]["name"], "Idempotency-Key");
    assert_eq!(pay["x-idempotency-key-ttl"], "PT24H");
    assert!(pay["responses"]["422"]["content"]["application/json"].is_object(), "what the handler answers");
    assert!(pay["responses"]["422"]["content"]["application/problem+json"].is_object(), "what the attribute answers");
    assert_eq!(document["paths"]["/notifications"]["post"].get("parameters"), None, "it has no attribute");

    let browser = Browser::start().await;
    browser.open(&service.url("/openapi")).await;
    browser.wait_for("return document.querySelectorAll('section').length === 6;").await;
    let shown = browser.run("return [...document.querySelectorAll('h2')].map((it) => it.textContent);").await;
    let mut shown: Vec<String> = serde_json::from_value(shown).unwrap();
    shown.sort_unstable();
    let mut described = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        described.extend(methods.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())));
    }
    described.sort_unstable();
    assert_eq!(shown, described);

    let text = browser.run("return document.querySelector('main').textContent;").await;
    let text = text.as_str().unwrap();
    for word in
        ["Idempotency-Key in the header", "at most 255 characters", "PT24H", "key-reused", "Idempotent-Replayed"]
    {
        assert!(text.contains(word), "no `{word}` in {text}");
    }

    // Every file comes from the service, so the page works without a network.
    let from = "return performance.getEntriesByType('resource').map((it) => new URL(it.name).host);";
    let hosts: Vec<String> = serde_json::from_value(browser.run(from).await).unwrap();
    assert!(!hosts.is_empty() && hosts.iter().all(|host| *host == service.address), "{hosts:?}");

    browser.looks_good("openapi", Path::new(env!("CARGO_TARGET_TMPDIR"))).await;
}
