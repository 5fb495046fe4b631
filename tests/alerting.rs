//! The alert rules and the dashboard are right: their syntax, what they fire on, and that what they ask for is counted.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn promtool(arguments: &[&str]) {
    let run = Command::new("promtool").args(arguments).current_dir(root()).output();
    let output = run.unwrap_or_else(|error| panic!("cannot run promtool ({error}): apt-get install prometheus"));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_rules_are_valid() {
    promtool(&["check", "rules", "docs/operations/alerts.yml"]);
}

#[test]
fn each_alert_fires_on_what_it_is_for_and_not_on_an_ordinary_day() {
    promtool(&["test", "rules", "tests/alerting/alerts.yml"]);
}

/// The names that begin with `idempotency_`, without what a histogram adds to them.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("idempotency_"));
    let base = |name: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    names.map(base).collect()
}

#[test]
fn every_metric_of_the_rules_and_the_dashboard_is_one_that_the_crate_counts() {
    let counted: String = ["mod.rs", "metrics.rs"]
        .map(|file| fs::read_to_string(root().join("idempotent-runtime/src/telemetry").join(file)).unwrap())
        .concat();
    let counted = metrics(&counted);
    for file in ["alerts.yml", "dashboard.json"] {
        let asked = metrics(&fs::read_to_string(root().join("docs/operations").join(file)).unwrap());
        assert!(!asked.is_empty(), "{file} asks for nothing");
        let unknown: Vec<_> = asked.difference(&counted).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}, which nobody counts");
    }
}

#[test]
fn the_dashboard_is_json() {
    let text = fs::read_to_string(root().join("docs/operations/dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| !panels.is_empty()));
}
