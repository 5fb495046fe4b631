//! Checks the alert rules and the dashboard: their syntax, when each rule fires, and that the page explains what to do.

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
    promtool(&["test", "rules", "tests/operations/rules/alerts.yml"]);
}

/// The metrics that a text names, without the suffixes of a histogram.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("idempotency_") && *word != "idempotency_");
    names.map(|name| name.trim_end_matches("_bucket").trim_end_matches("_count")).collect()
}

#[test]
fn every_metric_that_an_alert_is_about_has_a_panel() {
    let read = |file| fs::read_to_string(root().join("docs/operations").join(file)).unwrap();
    let (rules, dashboard) = (read("alerts.yml"), read("dashboard.json"));
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    let queries: String = targets.flatten().map(|target| target["expr"].as_str().unwrap().to_owned() + "\n").collect();
    let (watched, shown) = (metrics(&rules), metrics(&queries));
    assert!(watched.len() > 10, "{watched:?}");
    let missing: Vec<_> = watched.difference(&shown).collect();
    assert!(missing.is_empty(), "no panel of docs/operations/dashboard.json shows {missing:?}");
}

/// The numbers that the page has to give for a rule's condition: its thresholds, the minutes over which it counts, and
/// how long it must hold.
fn numbers(condition: &str) -> Vec<String> {
    let until = |rest: &'static str, text: &str| {
        let pieces = text.split(rest).skip(1).map(|piece| piece.split(|c: char| c == 'm' || c.is_whitespace()));
        pieces.filter_map(|mut words| words.next().map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut numbers: Vec<String> = Vec::new();
    for threshold in until("> ", condition) {
        numbers.push(format!("more than {threshold}"));
    }
    // The minutes of a rate only smooth it, so the page does not give them.
    if !condition.contains("rate(") {
        let counted = until("[", condition).into_iter().map(|minutes| format!("in {minutes} min"));
        numbers.extend(counted);
    }
    numbers.extend(until("for: ", condition).into_iter().map(|minutes| format!("for {minutes} min")));
    assert!(!numbers.is_empty(), "{condition}");
    numbers
}

#[test]
fn the_page_has_every_alert_with_its_metric_numbers_and_severity() {
    let read = |file| fs::read_to_string(root().join("docs").join(file)).unwrap();
    let (rules, page) = (read("operations/alerts.yml"), read("operations.md").replace("\\|", "|"));
    let section = page.split("\n### ").find(|section| section.starts_with("What to alert on\n")).unwrap();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| `Idempotency"))
        .map(|row| row.trim_matches(['|', ' ']).split(" | ").collect())
        .collect();
    let rules: String =
        rules.lines().filter(|line| !line.trim().starts_with('#')).flat_map(|line| [line, "\n"]).collect();
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).map(|rule| rule.split_once('\n').unwrap()).collect();
    assert_eq!(rows.len(), alerts.len());
    for (row, (alert, rule)) in rows.iter().zip(alerts) {
        assert_eq!(row[0], format!("`{alert}`"), "the order is that of the file");
        let (condition, rest) = rule.split_once("labels: ").unwrap();
        assert!(rest.contains(&format!("severity: {} ", row[2])), "{alert} is no {}", row[2]);
        for metric in metrics(condition) {
            let label =
                condition.split(metric).nth(1).unwrap().strip_prefix('{').and_then(|rest| rest.split('}').next());
            let is_named = row[1].contains(metric) || label.is_some_and(|label| row[1].contains(label));
            assert!(is_named, "{alert} is about {metric}");
        }
        for number in numbers(condition) {
            assert!(row[1].contains(&number), "{alert}: `{number}`");
        }
    }
}

#[test]
fn every_alert_leads_to_a_section_of_the_run_book_that_says_what_to_type() {
    let read = |file| fs::read_to_string(root().join("docs/operations").join(file)).unwrap();
    let (rules, page) = (read("alerts.yml"), read("runbook.md"));
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 19);
    for alert in alerts {
        let rule = rules.split(&format!("alert: {alert}\n")).nth(1).unwrap();
        let anchor = rule
            .split(
                "runbook_url: https://docs.rs/idempotent-runtime/latest/idempotent_runtime/guide/runbook/index.html#",
            )
            .nth(1)
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap();
        let section = page.split("\n## ").find(|section| section.lines().next().unwrap().to_lowercase() == anchor);
        let section = section.unwrap_or_else(|| panic!("{alert} leads to {anchor}, which is not there"));
        assert!(section.contains("\n1. ") && section.contains('`'), "{alert} does not say what to do: {section}");
    }
}
