//! Runs the cases one after the other.

use serde::Serialize;

use crate::{
    case::{Case, Finding, Level, Need, Stop, Verdict},
    preflight,
    service::{Sent, Service, is_gone},
    target::Target,
};

/// What became of a case.
pub(crate) struct Outcome {
    pub(crate) case: &'static Case,
    pub(crate) verdict: Verdict,
    /// What was seen, or what is missing. Empty if there is nothing to say.
    pub(crate) detail: String,
    pub(crate) sent: Vec<Sent>,
}

/// What the chosen cases would send.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) cases: usize,
    pub(crate) requests: u32,
    /// How many operations a service that keeps all rules carries out.
    pub(crate) operations: u32,
}

/// The finding on a case that is not run.
pub(crate) fn unmet(case: &Case, target: &Target) -> Option<Finding> {
    case.needs.iter().find_map(|need: &Need| need.missing(target))
}

impl Plan {
    pub(crate) fn new(cases: &[&'static Case], target: &Target) -> Self {
        let mut plan = Self { cases: 0, requests: preflight::COST.0, operations: preflight::COST.1 };
        for case in cases.iter().filter(|case| unmet(case, target).is_none()) {
            plan.cases += 1;
            plan.requests += case.cost.0;
            plan.operations += case.cost.1;
        }
        plan
    }
}

/// Runs them. `progress` is called before each case. An error says why the run cannot go on.
pub(crate) async fn cases(
    service: &Service<'_>,
    cases: &[&'static Case],
    strict: bool,
    progress: impl Fn(usize, &Case),
) -> Result<Vec<Outcome>, String> {
    let mut outcomes = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let found = if let Some(finding) = unmet(case, service.target) {
            Ok(finding)
        } else {
            progress(number, case);
            (case.check)(service).await
        };
        let found = match found {
            Err(stop) if is_gone(&stop) => {
                return Err(format!("the service is gone since the case {}: {}", case.id, reason(stop)));
            }
            found => found,
        };
        let (verdict, detail) = judge(found, case.level, strict);
        outcomes.push(Outcome { case, verdict, detail, sent: service.take_sent() });
    }
    Ok(outcomes)
}

fn judge(found: Result<Finding, Stop>, level: Level, strict: bool) -> (Verdict, String) {
    match found {
        Ok(Finding::Kept(detail)) => (Verdict::Passed, detail),
        Ok(Finding::Broken(detail)) => (level.verdict(strict), detail),
        Ok(Finding::Failed(detail)) => (Verdict::Failed, detail),
        Ok(Finding::Differs(detail)) => (Verdict::Differs, detail),
        Ok(Finding::Unseen(detail)) => (Verdict::NotObservable, detail),
        Ok(Finding::NotApplicable(detail)) => (Verdict::NotApplicable, detail),
        Err(Stop::NoAnswer(error)) => (level.verdict(strict), format!("the service {error}")),
        Err(Stop::Limit(why) | Stop::Unusable(why)) => (Verdict::NotObservable, why),
    }
}

fn reason(stop: Stop) -> String {
    match stop {
        Stop::NoAnswer(error) => format!("it {error}"),
        Stop::Limit(why) | Stop::Unusable(why) => why,
    }
}
