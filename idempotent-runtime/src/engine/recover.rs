//! Runs before the handler: asks the journal about a key whose state in the store is uncertain.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Engine, Request,
    background::ReleaseOnDrop,
    outcome::{Decision, Refused},
};
use crate::{
    config::policy::Takeover,
    error_chain::chain,
    journal::{Journal, Row, Unanswered},
    store::{
        Acquired, ClaimOutcome, ClaimRequest, Claims as _, StoreCall, StoreError, StoreKey,
        deadline::{self, RetryUntil},
    },
    telemetry::{About, limited},
};

/// Whether the journal has to be asked: another attempt runs, or stopped without reporting a result, or the store gave no
/// reliable answer.
pub(super) fn is_due(engine: &Engine, decision: &Decision) -> bool {
    match decision {
        Decision::Run(Some(acquired), _) => acquired.recovering || engine.settings.look_for_commits_first,
        Decision::Run(None, _) | Decision::Refuse(Refused::Running { .. } | Refused::Died | Refused::Expired) => true,
        _ => false,
    }
}

/// Asks the journal. A row that is found is the answer, and is stored again.
///
/// Unless the service wants it, the journal is not asked about a first claim. If the store has forgotten a key that the
/// journal has, the handler's commit finds the existing row.
pub(super) async fn recover(
    engine: &Arc<Engine>,
    journal: &dyn Journal,
    request: &Request,
    decision: Decision,
) -> Decision {
    let claim = &request.claim;
    let (acquired, without_claim) = match &decision {
        Decision::Refuse(Refused::Running { .. }) => return replay_committed(engine, journal, request, decision).await,
        Decision::Run(acquired, _) => (acquired.as_ref(), acquired.is_none()),
        _ => (None, false),
    };
    let (fence, recovering) = (acquired.map(|held| held.fence), acquired.is_some_and(|held| held.recovering));
    // The claim is released if the handler does not run, or if the client hangs up while the journal is asked.
    let mut release = ReleaseOnDrop { engine, claim, armed: fence.is_some() || without_claim };
    match find(journal, claim).await {
        Ok(None) => {
            release.armed = false;
            decision
        }
        Ok(Some(row)) => {
            if !without_claim {
                // The claim of a dead attempt is taken over to store its response.
                release.armed = true;
                release.armed = !write_back(engine, request, fence, &row).await;
            }
            answer(row, claim)
        }
        Err(error) => {
            limited!(COMMITS_UNREAD_BEFORE; About { fence, ..request.about() }, error = %chain(&error));
            if recovering {
                // The next attempt must learn, as this one did, that an earlier attempt stopped without reporting a
                // result.
                let abandoned = deadline::once(engine.settings.store_timeout, engine.store.abandon(claim)).await;
                release.armed = abandoned.is_err();
            }
            Decision::Refuse(match error {
                Unanswered::Unreadable(_) => Refused::Unreadable,
                _ => Refused::JournalUnavailable,
            })
        }
    }
}

/// Asks the journal about a key whose attempt still holds its lease. That attempt may have been killed just after its
/// COMMIT; its response is then in the journal. If the journal has no row, the attempt counts as running.
async fn replay_committed(engine: &Engine, journal: &dyn Journal, request: &Request, running: Decision) -> Decision {
    if journal.is_the_store() || !engine.journal_asked.may_ask(&request.claim.key) {
        return running;
    }
    match find(journal, &request.claim).await {
        Ok(Some(row)) => answer(row, &request.claim),
        Ok(None) => running,
        Err(error) => {
            limited!(COMMITS_UNREAD_WHILE_RUNNING; request.about(), error = %chain(&error));
            running
        }
    }
}

fn answer(row: Row, request: &ClaimRequest) -> Decision {
    if row.fingerprint == request.fingerprint {
        Decision::Replay(row.record)
    } else {
        Decision::Refuse(Refused::OtherRequest)
    }
}

/// No heartbeat is running yet, so the journal must answer before the first renewal would be due.
async fn find(journal: &dyn Journal, request: &ClaimRequest) -> Result<Option<Row>, Unanswered> {
    let limit = journal.timeout().min(request.lease / 3);
    tokio::time::timeout(limit, journal.find(&request.key)).await.unwrap_or(Err(Unanswered::Timeout))
}

/// Stores the response that the journal has. If the store does not take it, the next attempt will find it in the
/// journal again.
async fn write_back(engine: &Engine, request: &Request, fence: Option<u64>, row: &Row) -> bool {
    let claim = &request.claim;
    let limit = engine.settings.store_timeout;
    let written = deadline::repeated(limit, limit, RetryUntil::ClientGivesUp, || {
        let call = async {
            let fence = match fence {
                Some(fence) => fence,
                None => match claim_for_good(engine, claim).await? {
                    Some(fence) => fence,
                    None => return Ok(()),
                },
            };
            let terms = row.terms(claim);
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
async fn claim_for_good(engine: &Engine, request: &ClaimRequest) -> Result<Option<u64>, StoreError> {
    let request = ClaimRequest { takeover: Takeover::Rerun, ..request.clone() };
    match deadline::once(engine.settings.store_timeout, engine.store.claim(&request)).await? {
        ClaimOutcome::Acquired(Acquired { fence, .. }) => Ok(Some(fence)),
        _ => Ok(None),
    }
}

/// After a question about a key, the journal is not asked about the same key for this long.
const PAUSE: Duration = Duration::from_secs(1);

/// How many keys are remembered. When the list is full, the journal is asked about no other key until one second has
/// passed.
const MAX_KEYS: usize = 4_096;

/// The keys that the journal was asked about within the last second.
#[derive(Default)]
pub(crate) struct AskedLately(Mutex<HashMap<StoreKey, Instant>>);

impl AskedLately {
    /// Whether the journal may be asked about the key now. If it returns true, the next question is allowed one second
    /// later.
    pub(super) fn may_ask(&self, key: &StoreKey) -> bool {
        let now = Instant::now();
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.get(key).is_some_and(|last| now.duration_since(*last) < PAUSE) {
            return false;
        }
        if asked.len() >= MAX_KEYS {
            asked.retain(|_, last| now.duration_since(*last) < PAUSE);
        }
        let room = asked.len() < MAX_KEYS;
        if room {
            asked.insert(key.clone(), now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_asked_about_once_a_second_and_what_is_remembered_is_bounded() {
        let asked = AskedLately::default();
        assert!(asked.may_ask(&StoreKey::new("a")));
        assert!(!asked.may_ask(&StoreKey::new("a")));
        tokio::time::advance(PAUSE).await;
        assert!(asked.may_ask(&StoreKey::new("a")));
        for number in 0..2 * MAX_KEYS {
            asked.may_ask(&StoreKey::new(format!("k{number}")));
        }
        assert_eq!(asked.0.lock().unwrap().len(), MAX_KEYS);
        tokio::time::advance(PAUSE).await;
        assert!(asked.may_ask(&StoreKey::new("b")));
        assert_eq!(asked.0.lock().unwrap().len(), 1);
    }
}
