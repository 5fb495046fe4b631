//! The report as one page without a script.

use std::fmt::Write as _;

use super::{Report, escaped};
use crate::{case::Verdict, cases::GROUPS, run::Outcome};

pub(crate) fn html(report: &Report<'_>) -> String {
    let title = escaped(&report.title());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Is {title} safe to retry?</title><style>{}</style></head><body><main>\n<h1>Is it safe to retry?</h1>\n\
         <p class=\"endpoint\"><code>{title}</code></p>\n",
        include_str!("page.css"),
    );
    page.push_str("<ul class=\"summary\">");
    for verdict in Verdict::ALL {
        let _ =
            write!(page, "<li class=\"{}\"><b>{}</b> {}</li>", class(verdict), report.count(verdict), verdict.name());
    }
    let _ = write!(
        page,
        "</ul>\n<p>{} requests in {:.1} s, {}. idempotency-check {}.</p>\n",
        report.requests,
        report.duration.as_secs_f64(),
        httpdate::fmt_http_date(report.ended),
        env!("CARGO_PKG_VERSION"),
    );
    matrix(&mut page, report);
    for verdict in Verdict::ALL {
        let outcomes: Vec<&Outcome> = report.with(verdict).collect();
        if !outcomes.is_empty() {
            let _ = writeln!(page, "<h2>{}</h2>", capitalised(verdict.name()));
            for outcome in outcomes {
                case(&mut page, report, outcome);
            }
        }
    }
    page.push_str("</main></body></html>\n");
    page
}

/// A row for each group, a cell for each case.
fn matrix(page: &mut String, report: &Report<'_>) {
    page.push_str("<table><caption>Each number is a case; follow it to what was seen.</caption>\n");
    for (group, cases) in GROUPS {
        let _ = write!(page, "<tr><th scope=\"row\">{group}</th><td>");
        for case in cases {
            let Some(outcome) = report.outcomes.iter().find(|outcome| outcome.case.id == case.id) else { continue };
            let number = case.id.rsplit('/').next().unwrap_or_default();
            let (class, name) = (class(outcome.verdict), outcome.verdict.name());
            let _ = write!(
                page,
                "<a class=\"{class}\" href=\"#{0}\" title=\"{0}: {1}\" aria-label=\"{0}: {1}\">{number}</a>",
                case.id, name
            );
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</table>\n");
}

fn case(page: &mut String, report: &Report<'_>, outcome: &Outcome) {
    let case = outcome.case;
    let _ = write!(
        page,
        "<section id=\"{0}\" class=\"{1}\"><h3><span>{0}</span> {2}</h3>",
        case.id,
        class(outcome.verdict),
        escaped(case.rule)
    );
    let source = escaped(case.source);
    if matches!(outcome.verdict, Verdict::Failed | Verdict::Differs) {
        let (detail, harm) = (escaped(&capitalised(&outcome.detail)), escaped(case.harm));
        let _ =
            write!(page, "<p>{detail}.</p><p>{harm}</p><pre tabindex=\"0\">{}</pre>", escaped(&report.curl(outcome)));
    } else if !outcome.detail.is_empty() {
        let _ = write!(page, "<p>{}.</p>", escaped(&capitalised(&outcome.detail)));
    }
    let _ = writeln!(page, "<p class=\"source\">{source}</p></section>");
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Failed => "failed",
        Verdict::Differs => "differs",
        Verdict::Passed => "passed",
        Verdict::NotObservable => "unseen",
        Verdict::NotApplicable => "none",
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
