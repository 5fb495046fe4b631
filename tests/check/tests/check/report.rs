//! What the reports say, and what they do not show.

use crate::{
    shop::{self, Shop},
    tool::{self, Run},
};

/// A service without protection, so that much is to be reported.
async fn on_a_bad_shop(more: &[&str]) -> Run {
    let shop = Shop::new(idempotent_runtime::MemoryStore::new());
    let address = shop::serve(shop.routes_to(axum::routing::post(shop::pay_unprotected))).await;
    let options = shop::options(address);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    tool::run(&[&options[..], more].concat()).await
}

const SECRETS: [&str; 4] = ["alice-token", "bob-token", "\"account\"", "1200"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_begins_with_what_failed_and_how_to_repeat_it() {
    let run = on_a_bad_shop(&["--only", "keys/1,replay/1,at-once/2"]).await;
    assert_eq!(run.status, 1);
    let blocks: Vec<&str> = run.output.split("\n\n").collect();
    assert!(blocks[0].starts_with("failed   replay/1 A retry is not carried out again\n"), "{}", run.output);
    assert!(blocks[0].contains("It was carried out 2 times. (draft-07 §2.6, must)"), "{}", run.output);
    assert!(blocks[0].contains("A client whose connection broke pays twice."), "{}", run.output);
    assert!(
        blocks[0].contains("KEY=$(uuidgen)") && blocks[0].contains("-H \"Idempotency-Key: ${KEY}\""),
        "{}",
        run.output
    );
    assert!(blocks[1].contains("for i in $(seq 20); do curl"), "{}", run.output);
    assert!(blocks[2].starts_with("differs  keys/1"), "{}", run.output);
    assert!(
        run.output.trim_end().lines().last().unwrap().starts_with("2 failed, 1 differs, 0 passed"),
        "{}",
        run.output
    );
}

/// With the variables filled in, the commands do what the case did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_a_failure_repeat_it() {
    let shop = Shop::new(idempotent_runtime::MemoryStore::new());
    let address = shop::serve(shop.routes_to(axum::routing::post(shop::pay_unprotected))).await;
    let options = shop::options(address);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let run =
        tool::run(&[&options[..], &["--only", "at-once/2,replay/1", "--format", "json", "--show"]].concat()).await;
    for case in run.report()["cases"].as_array().unwrap() {
        let before = shop.orders.count();
        let command = case["curl"].as_str().unwrap();
        let output = tokio::process::Command::new("bash").args(["-c", command]).output().await.unwrap();
        let runs = shop.orders.count() - before;
        let detail = case["detail"].as_str().unwrap();
        let expected = if case["id"] == "replay/1" { 2 } else { 21 };
        assert_eq!(runs, expected, "{detail}\n{command}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_report_shows_keys_credentials_or_bodies_unless_it_is_asked_for() {
    let uuid = |text: &str| {
        text.split(|c: char| !c.is_ascii_hexdigit() && c != '-')
            .any(|word| uuid::Uuid::try_parse(word).is_ok_and(|it| !it.is_nil()))
    };
    for format in ["table", "junit", "json", "html"] {
        let run = on_a_bad_shop(&["--format", format, "--only", "keys,replay,other,faults,problems"]).await;
        for secret in SECRETS {
            assert!(!run.output.contains(secret), "{format} shows {secret}: {}", run.output);
        }
        assert!(!uuid(&run.output), "{format} shows a key: {}", run.output);
    }
    let run = on_a_bad_shop(&["--show", "--only", "other"]).await;
    for secret in ["alice-token", "\"account\"", "1200"] {
        assert!(run.output.contains(secret), "{secret}: {}", run.output);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junit_has_a_test_for_each_case() {
    let run = on_a_bad_shop(&["--format", "junit", "--only", "replay,keys/1"]).await;
    let count = |text: &str| run.output.matches(text).count();
    assert_eq!(count("<testcase "), 13, "{}", run.output);
    assert_eq!(count("<testcase "), count("</testcase>"));
    assert!(count("<failure message=\"it was carried out 2 times\">") == 1, "{}", run.output);
    assert!(run.output.contains("tests=\"13\" failures=\"1\""), "{}", run.output);
    // An XML parser reads it: curl's own quotes and ampersands are escaped.
    let parsed = std::process::Command::new("python3")
        .args(["-c", "import sys, xml.dom.minidom; xml.dom.minidom.parseString(sys.argv[1])", &run.output])
        .output();
    if let Ok(parsed) = parsed {
        assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_in_a_file_leaves_a_summary_on_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    let run = on_a_bad_shop(&["--format", "json", "--only", "replay/1", "--output", file.to_str().unwrap()]).await;
    assert_eq!((run.status, run.output.as_str()), (1, ""));
    assert!(run.errors.contains("1 failed, 0 differs"), "{}", run.errors);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(report["summary"]["failed"], 1);
    assert_eq!(report["cases"][0]["id"], "replay/1");
}
