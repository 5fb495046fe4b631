//! The examples of this project, and the lifetime of a key.

use support::{example::Example, redis_server::RedisServer};

use crate::{shop, tool};

#[tokio::test]
async fn the_example_payments_passes_all_that_can_be_seen() {
    let service = Example::start("payments", &[]);
    let (url, effects) = (service.url("/payments"), service.url("/payments"));
    let run = tool::run(&[
        &url,
        "--yes",
        "--format",
        "json",
        "--strict",
        "--body",
        r#"{"account":"alice","amount":1200,"currency":"EUR"}"#,
        "--vary",
        "amount",
        "--effects",
        &effects,
        "--auth",
        "Bearer a-token",
        "--other-auth",
        "Bearer b-token",
    ])
    .await;
    run.is_clean();
    assert!(run.with(&["passed"]).len() > 40, "{:?}", run.with(&["passed"]));
}

/// Its document names method, path and body.
#[tokio::test]
async fn an_operation_of_the_example_payments_is_taken_from_its_openapi_document() {
    let service = Example::start("payments", &[]);
    let directory = tempfile::tempdir().unwrap();
    let document = directory.path().join("openapi.json");
    let mut curl = tokio::process::Command::new("curl");
    curl.arg("-sSo").arg(&document).arg(service.url("/openapi.json"));
    assert!(curl.status().await.unwrap().success());
    let (url, effects) = (service.url(""), service.url("/payments"));
    let run = tool::run(&[
        &url,
        "--openapi",
        document.to_str().unwrap(),
        "--operation",
        "POST /payments",
        "--effects",
        &effects,
        "--yes",
        "--format",
        "json",
        "--only",
        "keys/1,replay",
    ])
    .await;
    run.is_clean();
    assert_eq!(run.report()["endpoint"], format!("POST {url}/payments"));
}

/// They have no way to count, so what they did is seen only where it went wrong.
async fn passes_without_a_count(service: &Example) {
    let run = tool::run(&[
        &service.url("/payments"),
        "--yes",
        "--format",
        "json",
        "--strict",
        "--body",
        "4200",
        "--other-body",
        "4300",
        "--auth",
        "Bearer a-token",
        "--other-auth",
        "Bearer b-token",
    ])
    .await;
    run.is_clean();
    for id in ["replay/1", "at-once/3", "faults/3"] {
        let (verdict, detail) = run.cases()[id].clone();
        assert!(verdict == "not-observable" && detail.contains("--effects"), "{id}: {verdict}, {detail}");
    }
    for id in ["keys/1", "replay/3", "other/1", "other/10", "policy/1"] {
        assert_eq!(run.cases()[id].0, "passed", "{id}");
    }
}

#[tokio::test]
async fn the_example_with_its_keys_in_memory_passes() {
    passes_without_a_count(&Example::start("quickstart", &[])).await;
}

#[tokio::test]
async fn the_example_with_its_keys_in_sqlite_passes() {
    passes_without_a_count(&Example::start("sqlite", &[])).await;
}

#[tokio::test]
async fn the_example_with_its_keys_in_redis_passes() {
    let redis = RedisServer::start();
    passes_without_a_count(&Example::start("redis", &[("REDIS_URL", &redis.url())])).await;
}

/// One handler keeps keys for two seconds, the other for a day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lifetime_of_a_key_is_measured() {
    let lifetime = async |path: &str, expires: &str| {
        let address = shop::start().await;
        let (url, effects) = (format!("http://{address}{path}"), format!("http://{address}/payments/count"));
        let options = ["--yes", "--format", "json", "--only", "lifetime", "--body", r#"{"account":"a","amount":1}"#];
        let more = ["--auth", "Bearer alice", "--effects", effects.as_str(), "--expires", expires, url.as_str()];
        tool::run(&[&options[..], &more[..]].concat()).await
    };
    let (as_said, too_long, too_short) =
        tokio::join!(lifetime("/short", "2s"), lifetime("/payments", "500ms"), lifetime("/short", "6s"));
    as_said.is_clean();
    assert_eq!(as_said.with(&["passed"]).len(), 2);
    assert_eq!(too_long.with(&["differs"]), ["lifetime/2: it gets the first response"]);
    assert_eq!(too_short.with(&["failed"]), ["lifetime/1: it is carried out again"]);
}
