//! Runs before the handler: asks the journal about a key whose state in the store is uncertain.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Engine, Request,
    claim::AcquireOutcome,
    deadline::{self, RetryUntil},
    release::ReleaseOnDrop,
};
use crate::{
    config::{Outage, policy::Takeover},
    error_chain::chain,
    journal::{Journal, Row, Unanswered},
    store::{Acquired, ClaimOutcome, ClaimRequest, StoreCall, StoreError},
    telemetry::{About, limited},
};

/// Whether the journal has to be asked: an earlier attempt stopped without reporting a result, or the store gave no
/// reliable answer.
pub(super) fn is_due(engine: &Engine, outcome: &AcquireOutcome) -> bool {
    match outcome {
        AcquireOutcome::Answered(ClaimOutcome::Acquired(Acquired { recovering, .. }), _) => {
            *recovering || engine.settings.look_for_commits_first
        }
        AcquireOutcome::Answered(ClaimOutcome::Died, _) | AcquireOutcome::Expired => true,
        AcquireOutcome::Unknown => engine.settings.outage == Outage::RunUnprotected,
        _ => false,
    }
}

/// Asks the journal about a key whose attempt still holds its lease. That attempt may have been killed just after its
/// COMMIT; its response is then in the journal. If the journal has no row, the attempt counts as running.
pub(super) async fn replay_committed(
    engine: &Engine,
    journal: &dyn Journal,
    request: &Request,
    running: AcquireOutcome,
) -> AcquireOutcome {
    let attempt = &request.claim;
    if journal.is_the_store() || !engine.journal_asked.may_ask(&attempt.key) {
        return running;
    }
    match find(journal, attempt).await {
        Ok(Some(row)) if row.fingerprint == attempt.fingerprint => {
            AcquireOutcome::Answered(ClaimOutcome::Done(row.record), Instant::now())
        }
        Ok(Some(_)) => AcquireOutcome::Answered(ClaimOutcome::OtherRequest, Instant::now()),
        Ok(None) => running,
        Err(error) => {
            limited!(COMMITS_UNREAD_WHILE_RUNNING; request.about(), error = %chain(&error));
            running
        }
    }
}

/// Asks the journal about a key whose earlier attempt stopped without reporting a result, or for which the store gave
/// no reliable answer. A row that is found is the answer, and is stored again.
///
/// Unless the service wants it, the journal is not asked about a first claim. If the store has forgotten a key that the journal has, the handler's
/// commit finds the existing row.
pub(super) async fn recover(
    engine: &Arc<Engine>,
    journal: &dyn Journal,
    request: &Request,
    outcome: AcquireOutcome,
) -> AcquireOutcome {
    let attempt = &request.claim;
    let (fence, recovering) = match &outcome {
        AcquireOutcome::Answered(ClaimOutcome::Acquired(Acquired { fence, recovering, .. }), _) => {
            (Some(*fence), *recovering)
        }
        _ => (None, false),
    };
    let store_is_down = matches!(outcome, AcquireOutcome::Unknown);
    // The claim is released if the handler does not run, or if the client hangs up while the journal is asked.
    let mut release = ReleaseOnDrop { engine, claim: attempt, armed: fence.is_some() || store_is_down };
    match find(journal, attempt).await {
        Ok(None) => {
            release.armed = false;
            outcome
        }
        Ok(Some(row)) => {
            if !store_is_down {
                let written = write_back(engine, request, fence, &row).await;
                release.armed &= !written;
            }
            let answer = if row.fingerprint == attempt.fingerprint {
                ClaimOutcome::Done(row.record)
            } else {
                ClaimOutcome::OtherRequest
            };
            AcquireOutcome::Answered(answer, Instant::now())
        }
        Err(error) => {
            limited!(COMMITS_UNREAD_BEFORE; About { fence, ..request.about() }, error = %chain(&error));
            if recovering {
                // The next attempt must learn, as this one did, that an earlier attempt stopped without reporting a
                // result.
                let abandoned = deadline::once(engine.settings.store_timeout, engine.store.abandon(attempt)).await;
                release.armed = abandoned.is_err();
            }
            match error {
                Unanswered::Unreadable(_) => AcquireOutcome::Answered(ClaimOutcome::Unreadable, Instant::now()),
                _ => AcquireOutcome::JournalFailed,
            }
        }
    }
}

/// No heartbeat is running yet, so the journal must answer before the first renewal would be due.
async fn find(journal: &dyn Journal, attempt: &ClaimRequest) -> Result<Option<Row>, Unanswered> {
    let limit = journal.timeout().min(attempt.lease / 3);
    tokio::time::timeout(limit, journal.find(&attempt.key)).await.unwrap_or(Err(Unanswered::Timeout))
}

/// Stores the response that the journal has. If the store does not take it, the next attempt will find it in the
/// journal again.
async fn write_back(engine: &Engine, request: &Request, fence: Option<u64>, row: &Row) -> bool {
    let attempt = &request.claim;
    let limit = engine.settings.store_timeout;
    let written = deadline::repeated(limit, limit, RetryUntil::ClientGivesUp, || {
        let call = async {
            let fence = match fence {
                Some(fence) => fence,
                None => match claim_for_good(engine, attempt).await? {
                    Some(fence) => fence,
                    None => return Ok(()),
                },
            };
            let terms = row.terms(attempt);
            deadline::once(limit, engine.store.complete(&terms, fence, row.record.clone())).await.map(drop)
        };
        StoreCall::pending(call, None)
    });
    let written = written.await;
    match &written {
        Ok(()) => {
            tracing::info!(
                idempotency.outcome = "recovered",
                "a committed response was found in the database and stored again"
            );
        }
        Err(error) => {
            limited!(COMMIT_NOT_COPIED; About { fence, ..request.about() }, error = %chain(error));
        }
    }
    written.is_ok()
}

/// Takes over the claim of a dead attempt, to store its response. This is also done where a takeover would be refused,
/// because the handler does not run.
async fn claim_for_good(engine: &Engine, attempt: &ClaimRequest) -> Result<Option<u64>, StoreError> {
    let attempt = ClaimRequest { takeover: Takeover::Rerun, ..attempt.clone() };
    match deadline::once(engine.settings.store_timeout, engine.store.claim(&attempt)).await? {
        ClaimOutcome::Acquired(Acquired { fence, .. }) => Ok(Some(fence)),
        _ => Ok(None),
    }
}
