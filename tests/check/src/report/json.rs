//! The report for programs.

use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};

use super::Report;
use crate::case::Verdict;

pub(crate) fn json(report: &Report<'_>) -> Result<String, String> {
    let cases: Vec<Value> = report
        .outcomes
        .iter()
        .map(|outcome| {
            let case = outcome.case;
            let is_wrong = matches!(outcome.verdict, Verdict::Failed | Verdict::Differs);
            json!({
                "id": case.id, "rule": case.rule, "source": case.source, "level": case.level,
                "verdict": outcome.verdict, "detail": outcome.detail,
                "harm": is_wrong.then_some(case.harm), "curl": is_wrong.then(|| report.curl(outcome)),
            })
        })
        .collect();
    let count = |verdict: Verdict| (verdict.name().replace(' ', "-"), Value::from(report.count(verdict)));
    let summary: Map<String, Value> = Verdict::ALL.into_iter().map(count).collect();
    let document = json!({
        "tool": { "name": "idempotency-check", "version": env!("CARGO_PKG_VERSION") },
        "endpoint": report.title(),
        "ended": report.ended.duration_since(UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or_default(),
        "seconds": report.duration.as_secs_f64(),
        "requests": report.requests,
        "summary": summary,
        "cases": cases,
    });
    serde_json::to_string_pretty(&document).map(|text| text + "\n").map_err(|error| error.to_string())
}
