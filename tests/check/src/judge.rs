//! Tells a replay from a second run.

use crate::{
    case::{EFFECTS, Finding, Stop},
    http::{Answer, Request},
    service::Service,
};

/// Two requests with one key, and how often they were carried out together.
pub(crate) struct Tries {
    pub(crate) first: Answer,
    pub(crate) second: Answer,
    pub(crate) runs: Option<i64>,
}

/// What became of a second request with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Second {
    /// It was carried out as well.
    Ran,
    /// It got the response to the first.
    Replayed,
    /// It got an error.
    Refused,
    /// It got a 2xx. Whether it ran cannot be seen.
    Unclear,
}

impl Tries {
    pub(crate) fn second(&self, service: &Service<'_>) -> Second {
        if !service.is_done(&self.second) {
            return Second::Refused;
        }
        match self.runs {
            Some(2..) => Second::Ran,
            Some(_) => Second::Replayed,
            None if service.identifies() && is_same_result(&self.first, &self.second) => Second::Replayed,
            None if service.identifies() => Second::Ran,
            None if service.marker(&self.second).is_some() => Second::Replayed,
            None => Second::Unclear,
        }
    }

    /// What stops a case whose first request must be carried out.
    pub(crate) fn first_failed(&self, service: &Service<'_>) -> Option<Finding> {
        let is_done = service.is_done(&self.first);
        (!is_done).then(|| Finding::Broken(format!("the first request gets {}", self.first.status)))
    }
}

/// Whether both are the response to the same run, as far as a response shows it.
pub(crate) fn is_same_result(one: &Answer, other: &Answer) -> bool {
    one.body == other.body && one.header("location") == other.header("location")
}

/// What a case finds that sees a 2xx and nothing else.
pub(crate) fn unclear() -> Finding {
    Finding::Unseen(format!("the responses do not show whether it ran: give {EFFECTS}"))
}

impl Service<'_> {
    /// Whether the service carried the request out, or says so.
    pub(crate) fn is_done(&self, answer: &Answer) -> bool {
        answer.is_success() || self.normal.fresh.first().is_some_and(|fresh| fresh.status == answer.status)
    }

    /// Whether the response to an operation differs from the response to another.
    pub(crate) fn identifies(&self) -> bool {
        matches!(&self.normal.fresh[..], [one, other, ..] if !is_same_result(one, other))
    }

    /// The header that marks a response as a replay: first responses do not have it, or all have it with another value.
    pub(crate) fn marker(&self, answer: &Answer) -> Option<String> {
        let sounds_so = |name: &str| ["idempot", "replay", "cache", "duplicate"].iter().any(|word| name.contains(word));
        let marks = |name: &str, value: &[u8]| {
            let mut fresh = self.normal.fresh.iter().map(|fresh| fresh.header(name));
            let first = fresh.next().flatten();
            fresh.all(|other| other == first) && first != Some(value)
        };
        let found = answer.headers.iter().find(|(name, value)| sounds_so(name) && marks(name, value));
        found.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
    }

    /// Sends two requests one after the other.
    pub(crate) async fn tries(&self, first: &Request, second: &Request) -> Result<Tries, Stop> {
        let before = self.count().await?;
        let first = self.send(first).await?;
        let second = self.send(second).await?;
        Ok(Tries { first, second, runs: self.runs_since(before).await? })
    }

    /// Sends an operation and a retry of it.
    pub(crate) async fn retried(&self) -> Result<Tries, Stop> {
        let request = self.operation()?.request();
        self.tries(&request, &request).await
    }

    /// The finding on requests that together may be carried out once, of which these were answered.
    pub(crate) async fn once(&self, answers: &[&Answer], before: Option<i64>) -> Result<Finding, Stop> {
        let runs = self.runs_since(before).await?;
        let done: Vec<&&Answer> = answers.iter().filter(|answer| self.is_done(answer)).collect();
        let mut different: Vec<&Answer> = Vec::new();
        for answer in &done {
            if !different.iter().any(|seen| is_same_result(seen, answer)) {
                different.push(answer);
            }
        }
        let failed = |text: String| Ok(Finding::Failed(text));
        match runs {
            Some(1) if done.is_empty() => {
                let last = answers.last().map_or(0, |answer| answer.status);
                failed(format!("it was carried out, and the retry gets {last} instead of the response"))
            }
            Some(1) => Ok(Finding::Kept(String::new())),
            Some(0) if done.is_empty() => {
                let last = answers.last().map_or(0, |answer| answer.status);
                failed(format!("it was never carried out; the last answer is {last}"))
            }
            Some(0) => failed("it was answered as done, and was not carried out".to_owned()),
            Some(runs) => failed(format!("it was carried out {runs} times")),
            None if self.identifies() && different.len() > 1 => {
                failed(format!("it was carried out {} times: so many different responses came", different.len()))
            }
            None if done.is_empty() => failed(format!("it gets {}", answers.last().map_or(0, |answer| answer.status))),
            None => Ok(Finding::Unseen(format!("how often it was carried out: give {EFFECTS}"))),
        }
    }
}
