//! Checks calls that are dropped. Each may have had its effect, and the store must work as before.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{
    case::{Case, Verdict, attempt, rival, same},
    renewing::with_a_step,
};
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
        case.meets_running(&rival(&first), "for a rival").await?;
    }
    Ok(())
}

pub(super) async fn completion<S: Store>(case: Case<S>) -> Verdict {
    for moment in MOMENTS {
        let (first, fence) = case.begun().await?;
        give_up(moment, case.store.complete(&first, fence, b"record".as_slice().into())).await;
        match case.complete(&first, fence, "record".into()).await? {
            CompleteOutcome::Stored | CompleteOutcome::AlreadyStored => {}
            CompleteOutcome::Lost => return Err("the completion is lost".to_owned()),
        }
        case.replays(&first, b"record").await?;
    }
    Ok(())
}

pub(super) async fn steps<S: Store>(case: Case<S>) -> Verdict {
    for moment in MOMENTS {
        let (first, fence) = with_a_step(&case).await?;
        give_up(moment, case.store.save_steps(&first, fence, Bytes::from_static(b"one and two"))).await;
        case.die(&first).await?;
        match case.claim(&rival(&first)).await? {
            ClaimOutcome::Acquired(held) if held.steps == b"one"[..] || held.steps == b"one and two"[..] => {}
            other => return Err(format!("{other:?} after a save that was given up")),
        }
    }
    Ok(())
}

pub(super) async fn others<S: Store>(case: Case<S>) -> Verdict {
    for moment in MOMENTS {
        let (free, _) = case.begun().await?;
        give_up(moment, case.store.release(&free)).await;
        match case.release(&free).await? {
            ReleaseOutcome::Ended | ReleaseOutcome::NotOurs => {}
        }

        let first = rival(&free);
        let held = Acquired::new(case.win(&first, false).await?, false);
        give_up(moment, case.store.renew(&first, &held)).await;
        same("renew", &case.renew(&first, &held).await?, &RenewOutcome::Renewed)?;

        give_up(moment, case.store.abandon(&first)).await;
        case.taken_over(&first).await?;
    }
    Ok(())
}
