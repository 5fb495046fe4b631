//! What happened in a simulation, and whether it may happen.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use idempotent_runtime::store::Token;

use crate::loss::{InOrder, Loss, Side, does_not_learn_of};

/// An attempt that ends has saved its steps within this time.
const SAVED_WITHIN: Duration = Duration::from_secs(1);

/// One run of a handler.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) process: usize,
    pub(crate) key: String,
    pub(crate) recovering: bool,
    pub(crate) began: Duration,
    /// When it ended, and how.
    pub(crate) ended: Option<(Duration, End)>,
    /// When its claim counted as lost.
    pub(crate) lost: Option<Duration>,
    /// When its process died.
    pub(crate) died: Option<Duration>,
}

/// How a handler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a response that is stored.
    Responded,
    /// With a response that frees the key.
    Failed,
    Panicked,
    /// Somebody dropped it before its end.
    Dropped,
}

/// An answer that a client has read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) key: String,
    pub(crate) status: u16,
    pub(crate) replayed: bool,
    pub(crate) body: String,
    pub(crate) at: Duration,
}

/// One execution of a step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) run: usize,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) at: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) runs: Vec<Run>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) steps: Vec<Step>,
    /// What no part of the history shows: a hang, a key that is held for ever.
    pub(crate) faults: Vec<String>,
}

impl History {
    pub(crate) fn died(&mut self, process: usize, now: Duration) {
        let theirs = self.runs.iter_mut().filter(|run| run.process == process);
        theirs.for_each(|run| run.died = run.died.or(Some(now)));
    }

    /// Everything that should not have happened. `saved`: the bodies of running records, with the times when they were
    /// written. `in_order`: whether a process and its link worked from one moment to another. `loss`: when the store lost
    /// its data, if it did.
    pub(crate) fn judge(
        &self,
        saved: &[(String, Bytes, Duration)],
        in_order: InOrder<'_>,
        loss: Option<Duration>,
    ) -> Vec<String> {
        let loss = loss.map(|at| Loss { at, in_order });
        let mut faults = self.faults.clone();
        faults.extend(self.runs_that_had_no_reason(loss));
        faults.extend(self.replays_that_differ(loss));
        faults.extend(self.steps_that_were_repeated(saved, in_order, loss));
        faults
    }

    /// A handler runs again only if each earlier run has freed its key, or has died, or knows that it has lost it, or if
    /// the store has lost its record. And it is told of every death that the store knows of.
    fn runs_that_had_no_reason(&self, loss: Option<Loss<'_>>) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, run) in self.runs.iter().enumerate() {
            for (earlier_number, earlier) in self.runs[..number].iter().enumerate().filter(|(_, it)| it.key == run.key)
            {
                let before = |moment: Option<Duration>| moment.is_some_and(|moment| moment <= run.began);
                let ended = earlier.ended.filter(|(at, _)| *at <= run.began).map(|(_, end)| end);
                let freed = matches!(ended, Some(End::Failed | End::Panicked));
                if loss.is_some_and(|loss| loss.explains(earlier, run, &self.runs)) {
                    faults.extend(does_not_learn_of(earlier, run));
                    continue;
                }
                if !freed && !before(earlier.lost) && !before(earlier.died) {
                    faults.push(format!("run {number} had no reason: {run:?} after {earlier_number}: {earlier:?}"));
                }
                let unknown = ended == Some(End::Panicked) || ended.is_none();
                if unknown && !run.recovering {
                    faults.push(format!("run {number} was not told of {earlier_number}: {run:?} after {earlier:?}"));
                }
            }
            if run.ended.is_some_and(|(at, end)| end == End::Dropped && run.died.is_none_or(|died| at < died)) {
                faults.push(format!("run {number} was dropped: {run:?}"));
            }
        }
        faults
    }

    /// All replays of a key are the same, and are the response of one of its runs. If the store has lost its data, all
    /// before that are, and all after it.
    fn replays_that_differ(&self, loss: Option<Loss<'_>>) -> Vec<String> {
        let mut faults = Vec::new();
        let mut replays: HashMap<(&str, Side), &str> = HashMap::new();
        for answer in self.answers.iter().filter(|answer| answer.replayed) {
            let side = loss.map_or(Side::Before, |loss| loss.side_of(answer.at));
            let first = replays.entry((&answer.key, side)).or_insert(&answer.body);
            if *first != answer.body && side != Side::Unknown {
                faults.push(format!("{answer:?} is another replay than {first}"));
            }
            let number: usize =
                answer.body.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(usize::MAX);
            let run = self.runs.get(number).filter(|run| run.key == answer.key);
            if run.is_none_or(|run| !matches!(run.ended, Some((at, End::Responded)) if at <= answer.at)) {
                faults.push(format!("{answer:?} is no run's response"));
            }
        }
        let unexpected = self.answers.iter().filter(|it| !matches!(it.status, 200 | 201 | 409 | 500 | 503));
        faults.extend(unexpected.map(|answer| format!("an unexpected answer: {answer:?}")));
        faults
    }

    /// A step does not run again once its value is saved, or once its attempt has ended and had time to save it.
    fn steps_that_were_repeated(
        &self,
        saved: &[(String, Bytes, Duration)],
        in_order: InOrder<'_>,
        loss: Option<Loss<'_>>,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            let name = |step: &Step| step.value.split('@').next().unwrap_or_default().to_owned();
            let earlier = self.steps[..number].iter().filter(|it| it.key == step.key && name(it) == name(step));
            let run = self.runs.get(step.run);
            if loss.zip(run).is_some_and(|(loss, run)| loss.is_unknown_to(run, step.at)) {
                continue;
            }
            for first in earlier {
                let quoted = format!("\"{}\"", first.value);
                let holds = |body: &[u8]| body.windows(quoted.len()).any(|part| part == quoted.as_bytes());
                // The effect may have begun before the other attempt saved it, while both ran.
                let is_kept = |at| loss.is_none_or(|loss| !(at..=step.at).contains(&loss.at));
                let was_saved = saved.iter().find(|(_, body, at)| holds(body) && *at < step.at && is_kept(*at));
                if let Some((_, _, at)) = was_saved {
                    faults.push(format!("{step:?} ran again, and {first:?} was saved at {at:?}"));
                }
                let Some(run) = self.runs.get(first.run) else { continue };
                if loss.is_some_and(|loss| loss.at <= step.at && step.at <= loss.free_until(run)) {
                    continue;
                }
                if let Some((ended, End::Failed)) = run.ended
                    && run.lost.is_none_or(|lost| lost > ended + SAVED_WITHIN)
                    && run.died.is_none_or(|died| died > ended + SAVED_WITHIN)
                    && step.at > ended + SAVED_WITHIN
                    && in_order(run.process, ended, ended + SAVED_WITHIN)
                {
                    faults.push(format!("{step:?} ran again, and {first:?} is of an attempt that ended at {ended:?}"));
                }
            }
        }
        faults
    }

    /// Keys that are held although nobody runs.
    pub(crate) fn held(&mut self, running: &[(String, Token, Duration)], now: Duration) {
        for (key, _, left) in running {
            self.faults.push(format!("{now:?}: {key} is held for {left:?} although nothing runs"));
        }
    }
}
