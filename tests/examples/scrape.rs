//! Scrapes a real service, the example `payments`, with Prometheus. Every series that the alert rules and the dashboard
//! use is there, starts at zero, and has a help text and buckets.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use support::{example::Example, free_port};
use tokio::time::sleep;

/// The labels of a series, or of a query that selects series, with their values.
type Labels = BTreeMap<String, String>;

/// Parses `name{label="value",…}` at the beginning of a text, if it is a metric of ours.
fn series(text: &str) -> Option<(String, Labels)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let inside = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
    let labels = inside.split("\",").filter_map(|label| {
        let (name, value) = label.split_once("=\"").or_else(|| label.split_once("=~\""))?;
        // A label with `!=` or `!~` may have any other value or none, so it is not compared.
        (!name.ends_with('!')).then(|| (name.trim().to_owned(), value.trim_end_matches('"').to_owned()))
    });
    name.starts_with("idempotency_").then(|| (name.to_owned(), labels.collect()))
}

/// All series that a file of rules or panels asks for.
fn asked(file: &str) -> BTreeSet<(String, Labels)> {
    let text = fs::read_to_string(format!("docs/operations/{file}")).unwrap().replace("\\\"", "\"");
    // Only the queries are read. Comments and summaries are left out.
    let expressions = text.lines().filter(|line| !line.contains("summary:") && !line.trim_start().starts_with('#'));
    let lines = expressions.collect::<Vec<_>>().join("\n");
    let starts = lines.match_indices("idempotency_").map(|(at, _)| at);
    let found = starts.filter(|&at| !lines[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
    found.filter_map(|at| series(&lines[at..])).collect()
}

/// The result of a scrape: each series with its value.
#[derive(Default)]
struct Scrape(Vec<(String, Labels, f64)>);

impl Scrape {
    fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let read = |line: &str| {
            let (name, labels) = series(line)?;
            Some((name, labels, line.rsplit_once(' ')?.1.parse().ok()?))
        };
        Self(lines.map(|line| read(line).unwrap_or_else(|| panic!("{line} is no series of ours"))).collect())
    }

    /// The values of the series that a query selects. The query may allow several values of a label.
    fn values(&self, name: &str, wanted: &Labels) -> Vec<f64> {
        let is_meant = |labels: &Labels, (label, value): (&String, &String)| {
            // Prometheus adds these labels, and the dashboard's variables have no fixed value.
            matches!(label.as_str(), "job" | "instance")
                || value.starts_with('$')
                || labels.get(label).is_some_and(|own| value.split('|').any(|value| value == own))
        };
        let found = self
            .0
            .iter()
            .filter(|(found, labels, _)| found == name && wanted.iter().all(|label| is_meant(labels, label)));
        found.map(|(_, _, value)| *value).collect()
    }
}

struct Service(Example);

impl Service {
    fn start() -> Self {
        Self(Example::start("payments", &[]))
    }

    async fn metrics(&self) -> String {
        let internal = self.0.internal.as_deref().unwrap();
        reqwest::get(format!("http://{internal}/metrics")).await.unwrap().text().await.unwrap()
    }

    async fn scrape(&self) -> Scrape {
        Scrape::read(&self.metrics().await)
    }

    async fn pay(&self, key: Option<&str>) -> u16 {
        let request = reqwest::Client::new().post(self.0.url("/payments")).header("content-type", "application/json");
        let request = match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        let payment = r#"{"account":"alice","amount":100,"currency":"EUR"}"#;
        request.body(payment).send().await.unwrap().status().as_u16()
    }
}

#[tokio::test]
async fn every_series_that_the_rules_and_the_dashboard_ask_for_is_in_a_scrape() {
    let service = Service::start();
    assert_eq!(service.pay(Some("k")).await, 201);
    let scrape = service.scrape().await;
    for file in ["alerts.yml", "dashboard.json"] {
        let asked = asked(file);
        assert!(asked.len() >= 12, "{file} asks for {asked:?}");
        for (name, labels) in asked {
            assert!(!scrape.values(&name, &labels).is_empty(), "{file} asks for {name} with {labels:?}");
        }
    }
}

#[tokio::test]
async fn numbers_without_a_handler_are_zero_before_the_first_request() {
    let scrape = Service::start().scrape().await;
    let text = fs::read_to_string("docs/operations.md").unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `idempotency_") && line.contains(" counter"));
    let mut names = 0;
    for row in rows.filter(|row| !row.contains("`namespace`, `handler`")) {
        for name in row.split('|').nth(1).unwrap().split('`').filter(|name| name.starts_with("idempotency_")) {
            let values = scrape.values(name, &Labels::new());
            assert!(!values.is_empty() && values.iter().all(|&value| value == 0.0), "{name}: {values:?}");
            names += 1;
        }
    }
    assert_eq!(names, 9);
}

#[tokio::test]
async fn a_handlers_numbers_all_begin_with_its_first_request() {
    let service = Service::start();
    assert_eq!(service.pay(Some("k")).await, 201);
    let before = service.scrape().await;
    assert_eq!(service.pay(Some("k")).await, 201);
    for (name, labels, _) in service.scrape().await.0 {
        assert!(!before.values(&name, &labels).is_empty(), "{name} with {labels:?} is new");
    }
}

#[tokio::test]
async fn every_number_has_a_text_and_a_name_as_prometheus_wants_it() {
    let service = Service::start();
    assert_eq!(service.pay(Some("k")).await, 201);
    let metrics = service.metrics().await;
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run promtool ({error}): apt-get install prometheus"));
    check.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stderr), metrics);
}

/// A Prometheus that scrapes the service every second.
struct Prometheus {
    process: Child,
    address: String,
    _data: tempfile::TempDir,
}

impl Prometheus {
    fn watch(target: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let rules = fs::canonicalize("docs/operations/alerts.yml").unwrap();
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n\
             - {{job_name: pay, static_configs: [{{targets: ['{target}']}}]}}\n",
            rules.display()
        );
        fs::write(data.path().join("prometheus.yml"), configuration).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", data.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run prometheus ({error}): apt-get install prometheus"));
        Self { process, address, _data: data }
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let text = reqwest::get(format!("http://{}{path}", self.address)).await.ok()?.text().await.ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Asks until the answer is accepted.
    async fn ask(&self, query: &str, is_good: impl Fn(f64) -> bool) {
        let encoded = query.bytes().fold(String::new(), |encoded, byte| format!("{encoded}%{byte:02X}"));
        let mut last = None;
        for _ in 0..600 {
            last = self.get(&format!("/api/v1/query?query={encoded}")).await;
            let value = last.as_ref().and_then(|answer| answer["data"]["result"][0]["value"][1].as_str()?.parse().ok());
            if value.is_some_and(&is_good) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("{query} is {last:?}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_real_prometheus_sees_the_first_event_computes_a_p99_and_takes_the_rules() {
    let service = Service::start();
    let prometheus = Prometheus::watch(service.0.internal.as_deref().unwrap());
    prometheus.ask("sum(idempotency_turned_away_total{outcome=\"key-missing\"})", |value| value == 0.0).await;
    assert_eq!(service.pay(None).await, 400);
    prometheus.ask("increase(idempotency_turned_away_total{outcome=\"key-missing\"}[1m])", |value| value > 0.0).await;

    // `rate` needs two scrapes of a series.
    assert_eq!(service.pay(Some("k")).await, 201);
    prometheus
        .ask("sum(idempotency_store_seconds_bucket{operation=\"claim\",le=\"0.05\"})", |value| value >= 0.0)
        .await;
    assert_eq!(service.pay(Some("another")).await, 201);
    let p99 = "histogram_quantile(0.99, sum by (le) (rate(idempotency_store_seconds_bucket{operation=\"claim\"}[1m])))";
    prometheus.ask(p99, |value| value > 0.0 && value <= 10.0).await;

    let rules = prometheus.get("/api/v1/rules").await.unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 19);
    assert!(rules.iter().all(|rule| rule["health"] == "ok" && rule["lastError"].is_null()), "{rules:#?}");
}
