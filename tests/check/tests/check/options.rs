//! What the command line and the file do.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{FromRef, State},
    http::StatusCode,
    routing::post,
};
use idempotent_runtime::{Idempotency, MemoryStore, idempotent};

use crate::{
    shop::{self, Shop},
    tool::{self, Run},
};

const BODY: &str = r#"{"account":"alice","amount":1200}"#;

async fn on_a_shop(more: &[&str]) -> Run {
    let address = shop::start().await;
    let url = format!("http://{address}/payments");
    tool::run(&[&[&url, "--body", BODY, "--auth", "Bearer alice-token"], more].concat()).await
}

#[tokio::test]
async fn the_list_has_every_case_with_its_source() {
    let run = tool::run(&["--list"]).await;
    assert_eq!(run.status, 0);
    assert!(run.output.lines().count() > 50);
    for line in run.output.lines() {
        assert!(["draft-07 §", "RFC ", "common practice"].iter().any(|source| line.contains(source)), "{line}");
    }
    let some = tool::run(&["--list", "--only", "replay/3,keys/1"]).await.output;
    let ids: Vec<_> = some.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids, ["keys/1", "replay/3"]);
}

#[tokio::test]
async fn nothing_is_sent_without_consent() {
    let run = on_a_shop(&[]).await;
    assert_eq!(run.status, 2);
    assert!(run.errors.contains("carries out") && run.errors.contains("nothing was sent"), "{}", run.errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_would_be_sent_and_sends_nothing() {
    let shop = Shop::new(MemoryStore::new());
    let address = shop::serve(shop.routes()).await;
    let run = tool::run(&[&format!("http://{address}/payments"), "--body", BODY, "--dry-run"]).await;
    assert_eq!(run.status, 0);
    assert!(run.output.contains("other/1     not observable: give --vary or --other-body"), "{}", run.output);
    assert!(run.output.contains("at-once/3   102 requests, 1 carried out"), "{}", run.output);
    assert_eq!(shop.orders.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_on_another_machine_is_announced() {
    let run = tool::run(&["https://pay.example.com/payments", "--body", BODY, "--dry-run"]).await;
    assert!(run.errors.contains("pay.example.com is not on this machine"), "{}", run.errors);
    let run = on_a_shop(&["--dry-run"]).await;
    assert!(!run.errors.contains("not on this machine"), "{}", run.errors);
}

/// The counts that are announced are what a run takes, and it never sends more than the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_sent_than_was_announced_and_than_the_limit_allows() {
    let shop = Shop::new(MemoryStore::new());
    let address = shop::serve(shop.routes()).await;
    let options = shop::options(address);
    let options: Vec<&str> = options.iter().map(String::as_str).chain(["--format", "json"]).collect();
    let run = tool::run(&options).await;
    let number_before = |words: &str| -> u64 {
        let text = run.errors.split(words).next().unwrap();
        text.rsplit(' ').find(|word| !word.is_empty()).unwrap().parse().unwrap()
    };
    let sent = run.report()["requests"].as_u64().unwrap();
    assert!(sent <= number_before(" requests, at most") + 60, "{sent} requests: {}", run.errors);
    let announced = run.errors.split("carries out ").nth(1).unwrap().split('.').next().unwrap();
    assert!(shop.orders.count() <= announced.parse().unwrap(), "{} orders: {}", shop.orders.count(), run.errors);

    let run = tool::run(&[&options[..], &["--max-requests", "50"]].concat()).await;
    assert!(run.report()["requests"].as_u64().unwrap() <= 50);
    let unseen = run.with(&["not-observable"]);
    assert!(unseen.iter().any(|line| line.contains("the limit of 50 requests is reached")), "{unseen:?}");
    let late = ["--only", "lifetime", "--expires", "24h"];
    let run = tool::run(&[&options[..], &late].concat()).await;
    assert!(
        run.with(&["not-observable"]).iter().all(|line| line.contains("the limit of 5m is reached")),
        "{}",
        run.output
    );
    let run = tool::run(&[&options[..], &["--max-time", "1ms"]].concat()).await;
    assert!(run.errors.contains("the limit of 1ms is reached"), "{}", run.errors);
}

/// No problem of this service has a link, which the draft says it SHOULD have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exit_status_tells_a_failure_and_a_should_fails_only_if_it_is_asked_for() {
    let idempotency = Idempotency::builder(MemoryStore::new()).problem_base("errors/").build();
    let shop = Shop { idempotency, ..Shop::new(MemoryStore::new()) };
    let url = format!("http://{}/payments", shop::serve(shop.routes()).await);
    let check = async |more: &[&str]| {
        let options = [url.as_str(), "--yes", "--body", BODY, "--auth", "Bearer alice", "--only", "problems/3"];
        tool::run(&[&options[..], more].concat()).await
    };
    let run = check(&[]).await;
    assert!(run.output.starts_with("differs  problems/3"), "{}", run.output);
    assert_eq!(run.status, 0);
    let run = check(&["--strict"]).await;
    assert!(run.output.starts_with("failed   problems/3"), "{}", run.output);
    assert_eq!(run.status, 1);
}

#[tokio::test]
async fn what_the_user_wrote_wrongly_is_said_before_anything_is_sent() {
    for (arguments, sentence) in [
        (&[][..], "give the URL of the endpoint"),
        (&["127.0.0.1:3000"], "write it with http:// or https://"),
        (&["http://127.0.0.1:1/", "--body", "{}", "--vary", "amount"], "the body has no member `amount`"),
        (&["http://127.0.0.1:1/", "--only", "replay/99"], "there is no case or group `replay/99`"),
        (&["http://127.0.0.1:1/", "--auth", "env:NOT_SET"], "the environment variable NOT_SET is not set"),
        (&["http://127.0.0.1:1/", "--header", "no colon"], "write it as 'Name: value'"),
        (&["http://127.0.0.1:1/", "--body", "@/not/there"], "--body @/not/there"),
        (&["http://127.0.0.1:1/", "--operation", "pay"], "--operation needs --openapi"),
        (&["http://127.0.0.1:1/", "--timeout", "soon"], "soon"),
        (&["http://127.0.0.1:1/", "--only", "lifetime", "--yes"], "none of the chosen cases can be run"),
    ] {
        let run = tool::run(arguments).await;
        assert_eq!(run.status, 2, "{arguments:?}");
        assert!(run.errors.contains(sentence), "{arguments:?}: {}", run.errors);
    }
}

/// The first request shows what is wrong with the options, before any case fails because of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_the_service_does_not_accept_is_explained() {
    let address = shop::start().await;
    let url = |path: &str| format!("http://{address}{path}");
    for (path, options, sentence) in [
        ("/payments", &["--body", BODY][..], "gets 401. Give --auth"),
        ("/nowhere", &["--body", BODY, "--auth", "Bearer a"], "gets 404"),
        ("/payments", &["--body", BODY, "--auth", "Bearer a", "--method", "DELETE"], "Is the method DELETE right?"),
        ("/payments", &["--auth", "Bearer a"], "gets 415. Is the content type"),
        ("/payments", &["--body", BODY, "--auth", "Bearer a", "--key-header", "X-Key"], "--key-header"),
        ("/payments", &["--body", BODY, "--auth", "Bearer a", "--effects", &url("/nowhere")], "it answers 404"),
        ("/payments", &["--body", BODY, "--auth", "Bearer a", "--effects-command", "echo 7"], "did not change"),
        ("/payments", &["--body", BODY, "--auth", "Bearer a", "--effects-command", "echo many"], "a number or a list"),
    ] {
        let run = tool::run(&[&[url(path).as_str(), "--yes"], options].concat()).await;
        assert_eq!(run.status, 2, "{path} {options:?}: {}", run.output);
        assert!(run.errors.contains(sentence), "{path} {options:?}: {}", run.errors);
    }
}

/// A file has the same options. Those of the command line go before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_options_may_be_in_a_file() {
    let address = shop::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("check.toml");
    let text = format!(
        "url = 'http://{address}/nowhere'\nbody = '{BODY}'\nvary = 'amount'\nauth = 'env:PAYMENTS_TOKEN'\n\
         timeout = '60s'\neffects = 'http://{address}/payments/count'\nreplica = ['http://{address}/payments']\n"
    );
    std::fs::write(&file, text).unwrap();
    let (file, url) = (file.to_str().unwrap(), format!("http://{address}/payments"));
    let arguments = [&url, "--config", file, "--yes", "--format", "json", "--only", "replay,other/1"];
    let run = tool::run_in(&arguments, &[("PAYMENTS_TOKEN", "Bearer alice")]).await;
    run.is_clean();
    for id in ["other/1", "replay/1", "replay/11"] {
        assert_eq!(run.cases()[id].0, "passed", "{id}");
    }
    std::fs::write(file, "urll = ''").unwrap();
    let run = tool::run(&["--config", file]).await;
    assert!(run.status == 2 && run.errors.contains("urll"), "{}", run.errors);
}

#[derive(Clone, FromRef)]
struct Accounts {
    idempotency: Idempotency,
    names: Arc<Mutex<HashSet<String>>>,
}

/// Each name can be had once.
#[idempotent(ttl = "24h")]
async fn sign_up(State(accounts): State<Accounts>, Json(name): Json<String>) -> (StatusCode, String) {
    let mut names = accounts.names.lock().unwrap();
    let status = if names.insert(name) { StatusCode::CREATED } else { StatusCode::CONFLICT };
    (status, names.len().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_value_is_new_for_each_operation_and_the_same_in_its_retries() {
    let accounts = Accounts { idempotency: Idempotency::new(MemoryStore::new()), names: Arc::default() };
    let address = shop::serve(Router::new().route("/accounts", post(sign_up)).with_state(accounts)).await;
    let url = format!("http://{address}/accounts");
    let check = async |body: &str| {
        tool::run(&[&url, "--yes", "--strict", "--format", "json", "--body", body, "--timeout", "60s"]).await
    };
    let run = check("\"alice\"").await;
    assert!(run.status == 2 && run.errors.contains("write {{unique}} in its place"), "{}", run.errors);
    check("\"{{unique}}\"").await.is_clean();
}

/// The command that the README of the program shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_run_of_the_readme_passes() {
    let readme = include_str!("../../README.md");
    let command = readme.split("```console\n$ ").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let address = shop::start().await;
    let command = command.replace("127.0.0.1:3000", &address.to_string()).trim().to_owned();
    let program = env!("CARGO_BIN_EXE_idempotency-check");
    let command = command.replacen("idempotency-check", program, 1) + " --yes";
    let output = tokio::process::Command::new("sh").args(["-c", &command]).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("0 failed, 0 differs, 4"), "{text}");
}
