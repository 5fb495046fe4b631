//! Checks renewals.

use std::time::Duration;

use tokio::time::sleep;

use super::case::{Case, Verdict, attempt, intruder, rival, same};
use crate::store::{
    Acquired, ClaimOutcome, ClaimRequest, Claims, CompleteOutcome, Lookup, ReleaseOutcome, RenewOutcome, Store,
};

pub(super) async fn keeps_the_claim<S: Store>(case: Case<S>) -> Verdict {
    // Renewed six times in each lease, so that a busy machine may be late by two seconds.
    let first = ClaimRequest { lease: Duration::from_secs(3), ..attempt() };
    let fence = case.win(&first, false).await?;
    for _ in 0..8 {
        sleep(Duration::from_millis(500)).await;
        let before = left(case.look(&first).await?)?;
        same("renew", &case.renew(&first, fence).await?, &RenewOutcome::Renewed)?;
        let after = left(case.look(&first).await?)?;
        if after <= before {
            return Err(format!("{after:?} left after a renewal, {before:?} before it"));
        }
        match case.claim(&rival(&first)).await? {
            ClaimOutcome::Running { .. } => {}
            other => return Err(format!("{other:?} while the lease is renewed")),
        }
    }
    case.stands(&first, fence, false).await
}

fn left(sighting: Lookup) -> Result<Duration, String> {
    match sighting {
        Lookup::Running { left, .. } => Ok(left),
        other => Err(format!("{other:?} instead of Running")),
    }
}

pub(super) async fn keeps_recovering<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    case.win(&first, false).await?;
    case.die(&first).await?;
    let second = rival(&first);
    let fence = case.win(&second, true).await?;
    let held = Acquired::new(fence, true);
    let renewed = case.store.renew(&second, &held).await.map_err(|error| format!("renew failed: {error}"))?;
    same("renew", &renewed, &RenewOutcome::Renewed)?;
    case.stands(&second, fence, true).await
}

pub(super) async fn absent<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let fence = 1_700_000_000_000_000;
    same("renew", &case.renew(&first, fence).await?, &RenewOutcome::Recreated)?;
    case.stands(&first, fence, false).await?;
    same("renew again", &case.renew(&first, fence).await?, &RenewOutcome::Renewed)?;
    same("complete", &case.complete(&first, fence, b"record").await?, &CompleteOutcome::Stored)
}

pub(super) async fn absent_takeover<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let held = Acquired::new(1_700_000_000_000_000, true);
    let renewed = case.store.renew(&first, &held).await.map_err(|error| format!("renew failed: {error}"))?;
    same("renew", &renewed, &RenewOutcome::Recreated)?;
    case.stands(&first, held.fence, true).await?;
    // The effects of the dead attempt are still unknown, so a release does not free the key.
    same("release", &case.release(&first).await?, &ReleaseOutcome::Ended)?;
    case.win(&rival(&first), true).await.map(drop)
}

pub(super) async fn finished<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let fence = case.win(&first, false).await?;
    same("complete", &case.complete(&first, fence, b"record").await?, &CompleteOutcome::Stored)?;
    same("renew", &case.renew(&first, fence).await?, &RenewOutcome::Completed)?;
    same("the record", &case.claim(&rival(&first)).await?, &ClaimOutcome::Done(b"record".as_slice().into()))
}

pub(super) async fn foreign<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let fence = case.win(&first, false).await?;
    for other in [rival(&first), intruder(&first)] {
        same("renew", &case.renew(&other, fence).await?, &RenewOutcome::Lost)?;
        case.stands(&first, fence, false).await?;
    }
    same("complete", &case.complete(&first, fence, b"record").await?, &CompleteOutcome::Stored)?;
    same("renew", &case.renew(&rival(&first), fence).await?, &RenewOutcome::Lost)?;
    same("the record", &case.claim(&first).await?, &ClaimOutcome::Done(b"record".as_slice().into()))
}
