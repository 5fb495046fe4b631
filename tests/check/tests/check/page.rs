//! The report as a page, in a browser.

use std::path::Path;

use serde_json::json;
use support::browser::Browser;

use crate::{
    shop::{self, Shop},
    tool,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_a_matrix_that_can_be_read_in_a_narrow_and_a_wide_window() {
    let shop = Shop::new(idempotent_runtime::MemoryStore::new());
    let address = shop::serve(shop.routes_to(axum::routing::post(shop::pay_for_any_request))).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.html");
    let options = shop::options(address);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let run = tool::run(&[&options[..], &["--format", "html", "--output", file.to_str().unwrap()]].concat()).await;
    assert_eq!(run.status, 1, "{}", run.errors);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("<script"));

    let browser = Browser::start().await;
    browser.open(&format!("file://{}", file.display())).await;
    let cells = "return document.querySelectorAll('td a').length;";
    let listed = tool::run(&["--list"]).await.output.lines().count();
    assert_eq!(browser.run(cells).await, json!(listed));
    // A cell leads to its case.
    browser.click("td a.failed").await;
    let shown = "return document.querySelector('section:target h3').textContent;";
    assert_eq!(browser.run(shown).await, json!("other/1 A request with another value is refused with 422"));
    browser.looks_good("check", Path::new(env!("CARGO_TARGET_TMPDIR"))).await;
}
