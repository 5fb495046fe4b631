//! Before a handler runs: what the journal knows of a key that the store is not sure of.

use std::sync::Arc;

use super::{Journal, Row, Unanswered};
use crate::{
    claiming::{Claiming, lay_ghost},
    deadline,
    idempotency::{Engine, Outage},
    policy::Takeover,
    store::{Answer, Attempt, StoreError},
};

/// Asks the journal, where there is one, about a key whose earlier attempt died or of which the store knows nothing that
/// could be relied on. What is found is the answer, and goes back to the store.
///
/// A first claim is not asked about: if its key has a row all the same, since the store forgot it, the handler's commit
/// meets that row.
pub(crate) async fn heal(engine: &Arc<Engine>, attempt: &Attempt, claiming: Claiming) -> Claiming {
    let Some(journal) = engine.journal.as_deref() else { return claiming };
    let fence = match claiming {
        Claiming::Answered(Answer::Yours { recovering: true, fence }) => Some(fence),
        Claiming::Answered(Answer::Died) | Claiming::Expired => None,
        Claiming::Failed { known: false, .. } if engine.settings.outage == Outage::RunUnprotected => None,
        claiming => return claiming,
    };
    let found = find(journal, attempt).await;
    if matches!(claiming, Claiming::Failed { .. }) && !matches!(found, Ok(None)) {
        // It does not run, so a claim that was made without an answer is nobody's.
        lay_ghost(engine, attempt);
    }
    match found {
        Ok(None) => claiming,
        Ok(Some(row)) => {
            if !matches!(claiming, Claiming::Failed { .. }) {
                write_back(engine, attempt, fence, &row).await;
            }
            Claiming::Answered(if row.fingerprint == attempt.fingerprint {
                Answer::Done(row.record)
            } else {
                Answer::OtherRequest
            })
        }
        Err(error) => {
            if fence.is_some() {
                // The next attempt is to be told, as this one was, that an earlier one died.
                let _ = deadline::once(engine.settings.store_timeout, engine.store.abandon(attempt)).await;
            }
            Claiming::JournalFailed(error)
        }
    }
}

/// No heartbeat runs yet, so the answer has to be there before the first one would be due.
async fn find(journal: &dyn Journal, attempt: &Attempt) -> Result<Option<Row>, Unanswered> {
    let limit = journal.timeout().min(attempt.lease / 3);
    tokio::time::timeout(limit, journal.find(&attempt.key)).await.unwrap_or(Err(Unanswered::Timeout))
}

/// Gives the store what the journal has. If the store does not take it, the next attempt finds it in the journal again.
async fn write_back(engine: &Engine, attempt: &Attempt, fence: Option<u64>, row: &Row) {
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
    match healed.await {
        Ok(()) => tracing::info!(idempotency.outcome = "healed", "the store has from the journal what it had lost"),
        Err(error) => tracing::warn!(error = %error, "the store did not take what the journal has"),
    }
}

/// The claim of a dead attempt that may not run again is taken over, for its answer is known now.
async fn claim_for_good(engine: &Engine, attempt: &Attempt) -> Result<Option<u64>, StoreError> {
    let attempt = Attempt { takeover: Takeover::Rerun, ..attempt.clone() };
    match engine.store.claim(&attempt).await? {
        Answer::Yours { fence, .. } => Ok(Some(fence)),
        _ => Ok(None),
    }
}
