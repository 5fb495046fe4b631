//! The report for people, and what `--list` and `--dry-run` print.

use std::{collections::BTreeMap, fmt::Write as _};

use super::Report;
use crate::{
    case::{Case, Finding, Level, Verdict},
    run::{Outcome, unmet},
    target::Target,
};

pub(crate) fn table(report: &Report<'_>) -> String {
    let mut text = String::new();
    for verdict in [Verdict::Failed, Verdict::Differs] {
        for outcome in report.with(verdict) {
            tell(&mut text, report, outcome);
        }
    }
    let passed: Vec<&Outcome> = report.with(Verdict::Passed).collect();
    if !passed.is_empty() {
        text.push_str("passed\n");
        for outcome in passed {
            let detail = if outcome.detail.is_empty() { String::new() } else { format!(": {}", outcome.detail) };
            let _ = writeln!(text, "  {:<11} {}{detail}", outcome.case.id, outcome.case.rule);
        }
        text.push('\n');
    }
    for verdict in [Verdict::NotObservable, Verdict::NotApplicable] {
        by_reason(&mut text, report, verdict);
    }
    text.push_str(&summary(report));
    text.push('\n');
    text
}

/// A case that is not as it should be.
fn tell(text: &mut String, report: &Report<'_>, outcome: &Outcome) {
    let case = outcome.case;
    let _ = writeln!(text, "{:<8} {} {}", outcome.verdict.name(), case.id, case.rule);
    let _ = writeln!(text, "         {} ({}, {})", sentence(&outcome.detail), case.source, level(case.level));
    let _ = writeln!(text, "         {}", case.harm);
    for line in report.curl(outcome).lines() {
        let _ = writeln!(text, "           {line}");
    }
    text.push('\n');
}

/// The cases of one verdict, those with the same reason together.
fn by_reason(text: &mut String, report: &Report<'_>, verdict: Verdict) {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for outcome in report.with(verdict) {
        reasons.entry(&outcome.detail).or_default().push(outcome.case.id);
    }
    if reasons.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}", verdict.name());
    for (reason, ids) in reasons {
        let _ = writeln!(text, "  {}: {reason}", ids.join(" "));
    }
    text.push('\n');
}

/// How many cases have each verdict.
pub(crate) fn summary(report: &Report<'_>) -> String {
    let counts: Vec<String> =
        Verdict::ALL.iter().map(|verdict| format!("{} {}", report.count(*verdict), verdict.name())).collect();
    format!("{}. {} requests in {:.1} s.", counts.join(", "), report.requests, report.duration.as_secs_f64())
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Must => "must",
        Level::Should => "should",
        Level::Choice => "choice",
    }
}

/// The cases with their sources.
pub(crate) fn list(cases: &[&'static Case]) -> String {
    cases.iter().fold(String::new(), |mut text, case| {
        let _ = writeln!(text, "{:<11} {:<6} {} ({})", case.id, level(case.level), case.rule, case.source);
        text
    })
}

/// What each case would send, or what it needs.
pub(crate) fn plan(cases: &[&'static Case], target: &Target) -> String {
    cases.iter().fold(String::new(), |mut text, case| {
        let what = match unmet(case, target) {
            None => format!("{} requests, {} carried out", case.cost.0, case.cost.1),
            Some(Finding::Unseen(need)) => format!("not observable: {need}"),
            Some(Finding::NotApplicable(why)) => format!("not applicable: {why}"),
            Some(_) => String::new(),
        };
        let _ = writeln!(text, "{:<11} {what}", case.id);
        text
    })
}
