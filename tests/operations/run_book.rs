//! Runs the commands of `docs/operations/runbook.md` as they are written there, with a Redis, a Prometheus and an admin
//! router.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::{Router, http::Method, routing::post};
use idempotent_runtime::{AdminRouter, Idempotency, idempotent};
use support::{
    free_port,
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
};
use tokio::net::TcpListener;

const RUN_BOOK: &str = include_str!("../../docs/operations/runbook.md");

#[idempotent(ttl = "24h")]
async fn pay() -> &'static str {
    "paid"
}

/// A Prometheus that is stopped at the end of the test. Its data is removed.
struct Prometheus {
    process: Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// It scrapes nothing, because whether it accepts a query does not depend on its data.
    async fn start() -> Self {
        for _ in 0..5 {
            // Another program may take the port before it does. Then another port is tried.
            if let Some(prometheus) = Self::start_on(free_port()).await {
                return prometheus;
            }
        }
        panic!("prometheus does not start");
    }

    async fn start_on(port: u16) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let (config, address) = (directory.path().join("prometheus.yml"), format!("127.0.0.1:{port}"));
        fs::write(&config, "global: {}\n").unwrap();
        let mut prometheus = Command::new("prometheus");
        prometheus.arg(format!("--config.file={}", config.display()));
        prometheus.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
        prometheus.arg(format!("--web.listen-address={address}")).stdout(Stdio::null()).stderr(Stdio::null());
        let process = prometheus
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run prometheus ({error}): apt-get install prometheus"));
        let mut prometheus = Self { process, url: format!("http://{address}"), _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(60);
        let ready = format!("{}/-/ready", prometheus.url);
        while !reqwest::get(&ready).await.is_ok_and(|ready| ready.status() == 200) {
            if Instant::now() > deadline || prometheus.process.try_wait().unwrap().is_some() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(prometheus)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves a handler and the admin router, and returns the URL.
async fn service(redis: &RedisServer) -> String {
    let store = patient().connect(&redis.url()).await.unwrap();
    let idempotency = Idempotency::builder(store).namespace("payments").store_timeout(PATIENCE).build();
    let admin = AdminRouter::new(idempotency.clone()).handler(Method::POST, "/payments").into_router();
    let routes = Router::new().route("/payments", post(pay)).with_state(idempotency).nest("/idempotency", admin);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

/// The variables that the run book tells its reader to set, with the addresses of this test.
fn prelude(redis: &RedisServer, admin: &str, prometheus: &str) -> String {
    let block = RUN_BOOK.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let block = block.replace("redis://redis.internal:6379", redis.url().trim_end_matches('/'));
    let block = block.replace("http://127.0.0.1:9090/idempotency", admin);
    let block = block.replace("http://prometheus.internal:9090", prometheus);
    assert!(!block.contains(".internal"), "{block}");
    format!("set -o pipefail\n{block}\n")
}

/// All commands for a shell, in the order of the page.
fn commands() -> impl Iterator<Item = &'static str> {
    let quoted = RUN_BOOK.split("```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2));
    quoted.filter(|text| text.starts_with("$redis ") || text.starts_with("ask '") || text.contains("$admin/"))
}

/// Whether the command runs until it is stopped.
fn goes_on(command: &str) -> bool {
    command.contains("--latency")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_run_book_are_understood_by_their_servers() {
    let redis = RedisServer::start();
    let prometheus = Prometheus::start().await;
    let service = service(&redis).await;
    let pay = reqwest::Client::new().post(format!("{service}/payments")).header("idempotency-key", "k").send().await;
    assert_eq!(pay.unwrap().status(), 200);
    // The server has statistics of a command only after it was called once.
    redis.set(&["FLUSHDB"]);
    let prelude = prelude(&redis, &format!("{service}/idempotency"), &prometheus.url);
    let mut typed = 0;
    for command in commands().filter(|command| !goes_on(command)) {
        // This Redis has no file into which it could write its settings.
        let command = command.replace(" && $redis CONFIG REWRITE", "");
        let script = format!("{prelude}{command}");
        let output = tokio::task::spawn_blocking(move || Command::new("bash").args(["-c", &script]).output());
        let output = output.await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("ERR "), "{command}: {} {said}", output.status);
        typed += 1;
    }
    assert!(typed > 30, "{typed} commands");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_looked_up_as_the_run_book_says() {
    let redis = RedisServer::start();
    let service = service(&redis).await;
    let pay = reqwest::Client::new().post(format!("{service}/payments")).header("idempotency-key", "k").send().await;
    assert_eq!(pay.unwrap().status(), 200);
    let prelude = prelude(&redis, &format!("{service}/idempotency"), "http://127.0.0.1:1");
    let script = format!("{prelude}look '{{\"key\":\"k\"}}'");
    let output = tokio::task::spawn_blocking(move || Command::new("bash").args(["-c", &script]).output());
    let output = output.await.unwrap().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["requests"][0]["state"], "finished", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_forgotten_as_the_run_book_says() {
    let redis = RedisServer::start();
    let service = service(&redis).await;
    let pay = reqwest::Client::new().post(format!("{service}/payments")).header("idempotency-key", "k").send().await;
    assert_eq!(pay.unwrap().status(), 200);
    let prelude = prelude(&redis, &format!("{service}/idempotency"), "http://127.0.0.1:1");
    let shown = RUN_BOOK.split('`').find(|code| code.starts_with("forget '")).unwrap();
    let script = format!("{prelude}{}", shown.replace("4f1c…", "k").replace(r#","scope":"user-7""#, ""));
    let output = tokio::task::spawn_blocking(move || Command::new("bash").args(["-c", &script]).output());
    let output = output.await.unwrap().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["outcome"], "forgotten", "{answer}");
    assert_eq!(redis.cli(&["DBSIZE"]).trim(), "0");
}
