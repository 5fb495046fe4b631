//! The report for continuous integration.

use std::fmt::Write as _;

use super::{Report, escaped};
use crate::case::Verdict;

pub(crate) fn junit(report: &Report<'_>) -> String {
    let skipped = report.count(Verdict::NotObservable) + report.count(Verdict::NotApplicable);
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let _ = writeln!(
        text,
        "<testsuite name=\"idempotency-check {}\" tests=\"{}\" failures=\"{}\" skipped=\"{skipped}\" time=\"{:.3}\">",
        escaped(&report.title()),
        report.outcomes.len(),
        report.count(Verdict::Failed),
        report.duration.as_secs_f64(),
    );
    for outcome in &report.outcomes {
        let case = outcome.case;
        let group = case.id.split('/').next().unwrap_or_default();
        let _ = write!(text, "  <testcase classname=\"{group}\" name=\"{} {}\">", case.id, escaped(case.rule));
        let detail = escaped(&outcome.detail);
        match outcome.verdict {
            Verdict::Passed => {}
            Verdict::Failed => {
                let more = format!("{}\nSource: {}\n\n{}", case.harm, case.source, report.curl(outcome));
                let _ = write!(text, "<failure message=\"{detail}\">{}</failure>", escaped(&more));
            }
            Verdict::Differs => {
                let _ = write!(text, "<system-out>differs: {detail}. {}</system-out>", escaped(case.harm));
            }
            verdict => {
                let _ = write!(text, "<skipped message=\"{}: {detail}\"/>", verdict.name());
            }
        }
        text.push_str("</testcase>\n");
    }
    text.push_str("</testsuite>\n");
    text
}
