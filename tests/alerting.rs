//! The alert rules and the dashboard are right: their syntax, what they fire on, and that a person finds what to do.

use std::{fs, path::Path, process::Command};

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

#[test]
fn the_dashboard_is_json() {
    let text = fs::read_to_string(root().join("docs/operations/dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| !panels.is_empty()));
}

#[test]
fn every_alert_leads_to_a_section_of_the_run_book_that_says_what_to_type() {
    let read = |file| fs::read_to_string(root().join("docs/operations").join(file)).unwrap();
    let (rules, page) = (read("alerts.yml"), read("runbook.md"));
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 18);
    for alert in alerts {
        let rule = rules.split(&format!("alert: {alert}\n")).nth(1).unwrap();
        let anchor = rule.split("runbook.md#").nth(1).unwrap().split_whitespace().next().unwrap();
        let section = page.split("\n## ").find(|section| section.lines().next().unwrap().to_lowercase() == anchor);
        let section = section.unwrap_or_else(|| panic!("{alert} leads to {anchor}, which is not there"));
        assert!(section.contains("\n1. ") && section.contains('`'), "{alert} does not say what to do: {section}");
    }
}
