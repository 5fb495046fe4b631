//! What may happen after the store has lost its data, and what may not.

use std::time::Duration;

use crate::{
    history::{End, Run},
    service::LEASE,
};

/// After a loss, a run whose link is in order has claimed its key again within this time: a third of the lease, and the
/// time that calls take.
const CLAIMED_AGAIN_WITHIN: Duration = Duration::from_secs(2);

/// The longest time from a record that is read to the run, or the answer, that follows from it.
const CALL: Duration = Duration::from_secs(1);

/// Whether a process and its link worked from one moment to another.
pub(crate) type InOrder<'a> = &'a dyn Fn(usize, Duration, Duration) -> bool;

/// The moment at which the store lost all records.
#[derive(Clone, Copy)]
pub(crate) struct Loss<'a> {
    pub(crate) at: Duration,
    pub(crate) in_order: InOrder<'a>,
}

/// On which side of the loss an answer was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Before,
    /// Its record may have been read before the loss or after it.
    Unknown,
    After,
}

impl Loss<'_> {
    pub(crate) fn side_of(&self, answered: Duration) -> Side {
        if answered < self.at {
            Side::Before
        } else if answered < self.at + CALL {
            Side::Unknown
        } else {
            Side::After
        }
    }

    /// Until when the key of a run is free because the store has lost it. A run that goes on claims its key again, and
    /// one that has a response stores it. Zero for a run that began after the loss.
    pub(crate) fn free_until(&self, run: &Run) -> Duration {
        if run.began > self.at + CALL {
            return Duration::ZERO;
        }
        let until = self.at + CLAIMED_AGAIN_WITHIN;
        let writes_again = match run.ended {
            Some((at, End::Responded)) => at > self.at,
            Some((at, _)) => at > until,
            None => true,
        };
        let goes_on = [run.died, run.lost].into_iter().flatten().all(|at| at > until);
        let reaches_it = (self.in_order)(run.process, self.at.saturating_sub(CALL), until);
        if writes_again && goes_on && reaches_it { until } else { Duration::MAX }
    }

    /// Whether a run began because the store had lost the record of an earlier one, or comes after a run that did.
    pub(crate) fn explains(&self, earlier: &Run, later: &Run, all: &[Run]) -> bool {
        let free = self.at..=self.free_until(earlier);
        let others = all.iter().filter(|run| run.key == later.key && !std::ptr::eq(*run, earlier));
        others.into_iter().any(|run| run.began <= later.began && free.contains(&run.began))
    }

    /// Whether a run may not know yet that another one has its key since the loss.
    pub(crate) fn is_unknown_to(&self, run: &Run, now: Duration) -> bool {
        run.began <= self.at + CALL && (self.at..self.at + LEASE).contains(&now)
    }
}

/// The record of a run was lost, and another run has its key. It learns of that by its next renewal, or because none
/// succeeds, unless the other run frees the key before.
pub(crate) fn does_not_learn_of(run: &Run, other: &Run) -> Option<String> {
    let until = other.began + LEASE;
    let soon = |moment: Option<Duration>| moment.is_some_and(|at| at <= until);
    let freed = other.ended.filter(|(_, end)| *end != End::Responded).map(|(at, _)| at);
    let other_goes_on = ![other.died, other.lost, freed].into_iter().any(soon);
    let learns = [run.lost, run.died, run.ended.map(|(at, _)| at)].into_iter().any(soon);
    (other_goes_on && !learns).then(|| format!("{run:?} does not learn of {other:?}"))
}
