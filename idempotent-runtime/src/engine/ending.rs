//! How an attempt ends that ran: its response is stored, or its claim given up.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use super::{
    attempt::ActiveAttempt,
    release::{GivenUp, give_up_behind},
};
use crate::{store::CompleteOutcome, telemetry::AttemptEnd};

/// Its response is stored, unless another attempt has the key.
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

/// Its claim is given up.
pub(super) fn gave_up(active: &Arc<ActiveAttempt>, what: GivenUp) {
    active.engine.waiters.released(&active.attempt.key);
    active.telemetry.ended(
        active.attempt.key.as_str(),
        match what {
            GivenUp::Key => AttemptEnd::Freed,
            GivenUp::Lease => AttemptEnd::Abandoned,
        },
    );
    // A renewal that got no answer may still arrive, and create again what was given up.
    if active.renewal_unanswered.load(SeqCst) {
        give_up_behind(&active.engine, &active.attempt, what);
    }
}
