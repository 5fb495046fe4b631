//! Lists the attempts that are running in this process.

use serde::Serialize;

use crate::{engine::ActiveAttempt, idempotency::Idempotency, telemetry::KeyDigest};

/// How many attempts are listed. The oldest come first.
const LISTED: usize = 500;

/// What is in flight in one process.
#[derive(Serialize)]
pub(super) struct InFlight {
    /// Requests with a key, waiting duplicates included.
    pub(super) requests: usize,
    /// Attempts that run under a claim.
    pub(super) running: usize,
    /// The oldest of them.
    pub(super) attempts: Vec<Running>,
}

/// One attempt. Neither its key nor its scope is shown.
#[derive(Serialize)]
pub(super) struct Running {
    /// The function's path.
    pub(super) handler: &'static str,
    /// The digest of the key, as in logs and spans and in the answer to a lookup.
    pub(super) digest: String,
    pub(super) age_seconds: u64,
    pub(super) attempt: u64,
    /// Whether an earlier attempt with the key died.
    pub(super) recovering: bool,
    /// Its claim may be another attempt's by now.
    pub(super) lost: bool,
}

/// Looks at this process alone, and asks no store.
pub(super) fn in_flight(idempotency: &Idempotency) -> InFlight {
    let engine = idempotency.engine();
    let mut attempts = engine.heartbeats.attempts();
    let running = attempts.len();
    attempts.sort_by_key(|attempt| attempt.claimed);
    attempts.truncate(LISTED);
    InFlight { requests: engine.load.requests(), running, attempts: attempts.iter().map(|one| show(one)).collect() }
}

fn show(attempt: &ActiveAttempt) -> Running {
    Running {
        handler: attempt.handler,
        digest: KeyDigest(attempt.claim.key.as_str()).to_string(),
        age_seconds: attempt.claimed.elapsed().as_secs(),
        attempt: attempt.fence(),
        recovering: attempt.acquired.as_ref().is_some_and(|acquired| acquired.recovering),
        lost: attempt.is_lost(),
    }
}
