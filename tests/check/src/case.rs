//! What a case is, and what it can find.

use std::pin::Pin;

use serde::Serialize;

use crate::{http::NoAnswer, service::Service, target::Target};

/// One rule, and how it is checked.
pub(crate) struct Case {
    /// Stays the same for ever: `replay/3`.
    pub(crate) id: &'static str,
    /// The rule in one sentence.
    pub(crate) rule: &'static str,
    /// Where the rule is from.
    pub(crate) source: &'static str,
    pub(crate) level: Level,
    /// What a user suffers if the rule does not hold.
    pub(crate) harm: &'static str,
    pub(crate) needs: &'static [Need],
    /// How many requests it sends at most to a service that keeps the rule, and how many of them are carried out.
    pub(crate) cost: (u32, u32),
    pub(crate) check: Check,
}

/// The code of a case.
pub(crate) type Check = for<'a> fn(&'a Service<'a>) -> Checking<'a>;
pub(crate) type Checking<'a> = Pin<Box<dyn Future<Output = Result<Finding, Stop>> + 'a>>;

/// How strong a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// A service that breaks it is not safe to retry, or the source says MUST.
    Must,
    /// The source says SHOULD.
    Should,
    /// Services choose.
    Choice,
}

/// What a case found.
#[derive(Debug)]
pub(crate) enum Finding {
    /// The rule holds. The text says in which of the allowed ways, if there are several.
    Kept(String),
    /// The rule does not hold. Its level decides about the verdict.
    Broken(String),
    /// Worse than the level of the rule says: it fails.
    Failed(String),
    /// Less than the level of the rule says: it differs.
    Differs(String),
    /// It could not be seen.
    Unseen(String),
    /// The rule is not about this service.
    NotApplicable(String),
}

/// Why a case ended before it found anything.
#[derive(Debug)]
pub(crate) enum Stop {
    NoAnswer(NoAnswer),
    /// A limit of this run.
    Limit(String),
    /// What the user gave does not work.
    Unusable(String),
}

impl From<NoAnswer> for Stop {
    fn from(error: NoAnswer) -> Self {
        Self::NoAnswer(error)
    }
}

/// What the report says about a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Failed,
    Differs,
    Passed,
    NotObservable,
    NotApplicable,
}

impl Verdict {
    pub(crate) const ALL: [Self; 5] =
        [Self::Failed, Self::Differs, Self::Passed, Self::NotObservable, Self::NotApplicable];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Differs => "differs",
            Self::Passed => "passed",
            Self::NotObservable => "not observable",
            Self::NotApplicable => "not applicable",
        }
    }
}

impl Level {
    /// The verdict on a rule of this level that does not hold.
    pub(crate) fn verdict(self, strict: bool) -> Verdict {
        match self {
            Self::Must => Verdict::Failed,
            Self::Should if strict => Verdict::Failed,
            Self::Should | Self::Choice => Verdict::Differs,
        }
    }
}

/// What a case needs from the user or of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A request body.
    Body,
    /// A JSON body.
    Json,
    /// A body with other content.
    OtherBody,
    Auth,
    OtherAuth,
    OtherUrl,
    OtherMethod,
    Replica,
    Slow,
    Failing,
    Limited,
    Restart,
    Expires,
}

impl Need {
    /// What is missing: an option of the user's, or a property of the request.
    pub(crate) fn missing(self, target: &Target) -> Option<Finding> {
        let unseen = |option: &str| Some(Finding::Unseen(format!("give {option}")));
        let needed = |is_there: bool, option| if is_there { None } else { unseen(option) };
        match self {
            Self::Body if target.body.is_empty() => Some(Finding::NotApplicable("the request has no body".to_owned())),
            Self::Json if !target.is_json() => Some(Finding::NotApplicable("the body is not JSON".to_owned())),
            Self::Body | Self::Json => None,
            Self::OtherBody => needed(target.other_body.is_some(), "--vary or --other-body"),
            Self::Auth => needed(target.auth.is_some(), "--auth"),
            Self::OtherAuth => needed(target.other_auth.is_some(), "--other-auth"),
            Self::OtherUrl => needed(target.other_url.is_some(), "--other-url"),
            Self::OtherMethod => needed(target.other_method.is_some(), "--other-method"),
            Self::Replica => needed(!target.replicas.is_empty(), "--replica"),
            Self::Slow => needed(target.slow.is_some(), "--slow"),
            Self::Failing => needed(target.failing.is_some(), "--failing"),
            Self::Limited => needed(target.limited.is_some(), "--limited"),
            Self::Restart => needed(target.restart.is_some(), "--restart"),
            Self::Expires => needed(target.expires.is_some(), "--expires"),
        }
    }
}

/// The options that make effects visible.
pub(crate) const EFFECTS: &str = "--effects or --effects-command";
