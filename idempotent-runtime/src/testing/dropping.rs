//! Checks calls that are dropped. Each may have had its effect, and the store must work as before.

use std::time::Duration;

use tokio::time::timeout;

use super::case::{Case, Verdict, attempt, rival, same};
use crate::store::{Acquired, ClaimOutcome, Claims, CompleteOutcome, ReleaseOutcome, RenewOutcome, Store};

/// When a call is dropped: before it is sent, while it is under way, and after it was answered.
const MOMENTS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_micros(20),
    Duration::from_micros(100),
    Duration::from_micros(300),
    Duration::from_millis(1),
    Duration::from_millis(5),
];

/// Polls a call at least once, and drops it.
async fn give_up<F: Future>(after: Duration, call: F) {
    let _ = timeout(after, call).await;
}

pub(super) async fn claim<S: Store>(case: Case<S>) -> Verdict {
    for moment in MOMENTS {
        let first = attempt();
        give_up(moment, case.store.claim(&first)).await;
        let fence = case.win(&first, false).await?;
        case.stands(&first, fence, false).await?;
        match case.claim(&rival(&first)).await? {
            ClaimOutcome::Running { .. } => {}
            other => return Err(format!("{other:?} for a rival")),
        }
    }
    Ok(())
}

pub(super) async fn completion<S: Store>(case: Case<S>) -> Verdict {
    for moment in MOMENTS {
        let first = attempt();
        let fence = case.win(&first, false).await?;
        give_up(moment, case.store.complete(&first, fence, b"record".as_slice().into())).await;
        match case.complete(&first, fence, b"record").await? {
            CompleteOutcome::Stored | CompleteOutcome::AlreadyStored => {}
            CompleteOutcome::Lost => return Err("the completion is lost".to_owned()),
        }
        same("the record", &case.claim(&rival(&first)).await?, &ClaimOutcome::Done(b"record".as_slice().into()))?;
    }
    Ok(())
}

pub(super) async fn others<S: Store>(case: Case<S>) -> Verdict {
    for moment in MOMENTS {
        let free = attempt();
        case.win(&free, false).await?;
        give_up(moment, case.store.release(&free)).await;
        match case.release(&free).await? {
            ReleaseOutcome::Ended | ReleaseOutcome::NotOurs => {}
        }

        let first = rival(&free);
        let fence = case.win(&first, false).await?;
        give_up(moment, case.store.renew(&first, &Acquired::new(fence, false))).await;
        same("renew", &case.renew(&first, fence).await?, &RenewOutcome::Renewed)?;

        give_up(moment, case.store.abandon(&first)).await;
        same("abandon", &case.abandon(&first).await?, &ReleaseOutcome::Ended)?;
        case.win(&rival(&first), true).await?;
    }
    Ok(())
}
