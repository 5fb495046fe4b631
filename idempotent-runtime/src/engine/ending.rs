//! Ends an attempt whose handler ran: reports it, and wakes the duplicates that wait for the key.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use super::{
    attempt::ActiveAttempt,
    release::{GivenUp, give_up_behind},
};
use crate::{store::CompleteOutcome, telemetry::AttemptEnd};

/// The store took the response, or answered that another attempt has the key.
pub(super) fn completed(active: &ActiveAttempt, completed: CompleteOutcome) {
    active.engine.waiters.completed(&active.attempt.key);
    active.telemetry.ended(
        active.attempt.key.as_str(),
        match completed {
            CompleteOutcome::Stored | CompleteOutcome::AlreadyStored => AttemptEnd::Stored,
            CompleteOutcome::Lost => AttemptEnd::Fenced,
        },
    );
}

/// The claim was given up.
pub(super) fn gave_up(active: &Arc<ActiveAttempt>, what: GivenUp) {
    active.engine.waiters.released(&active.attempt.key);
    active.telemetry.ended(
        active.attempt.key.as_str(),
        match what {
            GivenUp::Key => AttemptEnd::Freed,
            GivenUp::Lease => AttemptEnd::Abandoned,
        },
    );
    // A renewal that got no answer may still arrive and create the claim again. So the claim is given up once more, in
    // the background.
    if active.renewal_unanswered.load(SeqCst) {
        give_up_behind(&active.engine, &active.attempt, what);
    }
}
