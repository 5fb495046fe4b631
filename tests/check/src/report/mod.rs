//! What the user reads at the end.

mod curl;
mod html;
mod json;
mod junit;
mod table;

use std::time::{Duration, SystemTime};

pub(crate) use self::{
    html::html,
    json::json,
    junit::junit,
    table::{list, plan, summary, table},
};
use crate::{case::Verdict, run::Outcome, service::Service, target::Target};

/// A finished run.
pub(crate) struct Report<'t> {
    pub(crate) target: &'t Target,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) requests: u32,
    pub(crate) duration: Duration,
    pub(crate) ended: SystemTime,
    /// Whether keys, credentials and bodies may be shown.
    pub(crate) show: bool,
}

impl<'t> Report<'t> {
    pub(crate) fn new(service: &Service<'t>, outcomes: Vec<Outcome>, show: bool) -> Self {
        Self {
            target: service.target,
            outcomes,
            requests: service.requests(),
            duration: service.elapsed(),
            ended: SystemTime::now(),
            show,
        }
    }

    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.with(verdict).count()
    }

    pub(crate) fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |outcome| outcome.verdict == verdict)
    }

    /// The endpoint, as the user wrote it.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.target.method, self.target.url)
    }

    /// The commands that repeat what a case sent.
    pub(crate) fn curl(&self, outcome: &Outcome) -> String {
        curl::commands(self, &outcome.sent)
    }
}

/// A text for XML and HTML.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    // XML allows no other control characters.
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
