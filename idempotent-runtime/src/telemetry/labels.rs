//! The values of the labels of metrics, which are also fields of spans and events.

/// How a request with a key was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    Ran,
    Recovered,
    Unprotected,
    Replayed,
    /// A problem, by its number in the list of problems.
    Problem(usize),
}

/// The outcomes that are no problem, by their numbers.
pub(super) const OUTCOMES: [&str; 4] = ["ran", "recovered", "unprotected", "replayed"];

impl RequestOutcome {
    pub(crate) fn label(self) -> &'static str {
        OUTCOMES.get(self.index()).copied().unwrap_or("problem")
    }

    /// The number of the outcome. Problems follow the other outcomes.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Ran => 0,
            Self::Recovered => 1,
            Self::Unprotected => 2,
            Self::Replayed => 3,
            Self::Problem(number) => OUTCOMES.len() + number,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// Its response is stored.
    Stored,
    /// Another attempt has the key, so the response is not stored.
    Fenced,
    /// The key is free again.
    Freed,
    /// The lease is over, and the attempt's effects are unknown.
    Abandoned,
    /// The store did not take the end of the attempt, within the limits for time and memory.
    Unsaved,
}

impl AttemptEnd {
    #[cfg_attr(not(feature = "metrics"), allow(dead_code))]
    pub(crate) const ALL: [Self; 5] = [Self::Stored, Self::Fenced, Self::Freed, Self::Abandoned, Self::Unsaved];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Fenced => "fenced",
            Self::Freed => "freed",
            Self::Abandoned => "abandoned",
            Self::Unsaved => "unsaved",
        }
    }
}

/// A call to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, unreachable_pub)] // tests make single calls fail
pub enum StoreOperation {
    Claim,
    Renew,
    Complete,
    Replace,
    SaveSteps,
    Release,
    Abandon,
    Lookup,
    Forget,
    Now,
}

/// The words for the calls, by their numbers.
#[cfg(any(feature = "metrics", feature = "testing"))]
pub(super) const CALLS: [&str; 10] =
    ["claim", "renew", "complete", "replace", "save_steps", "release", "abandon", "lookup", "forget", "now"];

impl StoreOperation {
    /// The call's word in metrics, and in what the conformance suite says of it.
    #[cfg(any(feature = "metrics", feature = "testing"))]
    pub(crate) fn label(self) -> &'static str {
        CALLS.get(self as usize).copied().unwrap_or_default()
    }
}
