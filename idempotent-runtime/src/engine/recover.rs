//! Before a handler runs: what the journal knows of a key that the store is not sure of.

use std::sync::Arc;

use super::{
    Engine,
    acquire::{Claiming, ReleaseOnDrop},
    deadline,
};
use crate::{
    config::{Outage, policy::Takeover},
    error_chain::chain,
    journal::{Journal, Row, Unanswered},
    store::{Acquired, Attempt, ClaimOutcome, StoreError},
};

/// Asks the journal, where there is one, about a key whose earlier attempt died or of which the store knows nothing that
/// could be relied on. What is found is the answer, and goes back to the store.
///
/// A first claim is not asked about: if its key has a row all the same, since the store forgot it, the handler's commit
/// meets that row.
pub(crate) async fn heal(engine: &Arc<Engine>, attempt: &Attempt, claiming: Claiming) -> Claiming {
    let Some(journal) = engine.journal.as_deref() else { return claiming };
    let fence = match claiming {
        Claiming::Answered(ClaimOutcome::Acquired(Acquired { recovering: true, fence, .. })) => Some(fence),
        Claiming::Answered(ClaimOutcome::Died) | Claiming::Expired => None,
        Claiming::Unknown if engine.settings.outage == Outage::RunUnprotected => None,
        claiming => return claiming,
    };
    let store_is_down = matches!(claiming, Claiming::Unknown);
    // The claim is nobody's if nothing runs, or if the client goes while the journal is asked.
    let mut ghost = ReleaseOnDrop { engine, attempt, armed: fence.is_some() || store_is_down };
    match find(journal, attempt).await {
        Ok(None) => {
            ghost.armed = false;
            claiming
        }
        Ok(Some(row)) => {
            if !store_is_down {
                let healed = write_back(engine, attempt, fence, &row).await;
                ghost.armed &= !healed;
            }
            Claiming::Answered(if row.fingerprint == attempt.fingerprint {
                ClaimOutcome::Done(row.record)
            } else {
                ClaimOutcome::OtherRequest
            })
        }
        Err(error) => {
            tracing::error!(error = %chain(&error), "the journal cannot be read, so nothing runs");
            if fence.is_some() {
                // The next attempt is to be told, as this one was, that an earlier one died.
                let abandoned = deadline::once(engine.settings.store_timeout, engine.store.abandon(attempt)).await;
                ghost.armed = abandoned.is_err();
            }
            Claiming::JournalFailed
        }
    }
}

/// No heartbeat runs yet, so the answer has to be there before the first one would be due.
async fn find(journal: &dyn Journal, attempt: &Attempt) -> Result<Option<Row>, Unanswered> {
    let limit = journal.timeout().min(attempt.lease / 3);
    tokio::time::timeout(limit, journal.find(&attempt.key)).await.unwrap_or(Err(Unanswered::Timeout))
}

/// Gives the store what the journal has. If the store does not take it, the next attempt finds it in the journal again.
async fn write_back(engine: &Engine, attempt: &Attempt, fence: Option<u64>, row: &Row) -> bool {
    let limit = engine.settings.store_timeout;
    let healed = deadline::repeated(limit, limit, || async {
        let fence = match fence {
            Some(fence) => fence,
            None => match claim_for_good(engine, attempt).await? {
                Some(fence) => fence,
                None => return Ok(()),
            },
        };
        engine.store.complete(&row.terms(attempt), fence, row.record.clone()).await.map(drop)
    });
    let healed = healed.await;
    match &healed {
        Ok(()) => tracing::info!(idempotency.outcome = "healed", "the store has from the journal what it had lost"),
        Err(error) => tracing::warn!(error = %chain(error), "the store did not take what the journal has"),
    }
    healed.is_ok()
}

/// The claim of a dead attempt that may not run again is taken over, for its answer is known now.
async fn claim_for_good(engine: &Engine, attempt: &Attempt) -> Result<Option<u64>, StoreError> {
    let attempt = Attempt { takeover: Takeover::Rerun, ..attempt.clone() };
    match engine.store.claim(&attempt).await? {
        ClaimOutcome::Acquired(Acquired { fence, .. }) => Ok(Some(fence)),
        _ => Ok(None),
    }
}
