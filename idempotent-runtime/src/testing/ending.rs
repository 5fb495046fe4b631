//! Checks giving up a claim.

use std::time::Duration;

use super::case::{Case, Verdict, attempt, ensure, intruder, rival, same};
use crate::store::{ClaimOutcome, CompleteOutcome, Lookup, ReleaseOutcome, Store};

pub(super) async fn released<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let before = case.win(&first, false).await?;
    same("release", &case.release(&first).await?, &ReleaseOutcome::Ended)?;
    same("the key", &case.look(&first).await?, &Lookup::Absent)?;
    same("release again", &case.release(&first).await?, &ReleaseOutcome::NotOurs)?;
    // Even another request may have it now.
    let next = intruder(&first);
    let fence = case.win(&next, false).await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))?;
    same("a late release", &case.release(&first).await?, &ReleaseOutcome::NotOurs)?;
    same("a late completion", &case.complete(&first, before, b"late").await?, &CompleteOutcome::Lost)?;
    case.stands(&next, fence, false).await
}

pub(super) async fn released_takeover<S: Store>(case: Case<S>) -> Verdict {
    let dead = attempt();
    case.win(&dead, false).await?;
    same("abandon", &case.abandon(&dead).await?, &ReleaseOutcome::Ended)?;
    let second = rival(&dead);
    let before = case.win(&second, true).await?;
    same("release", &case.release(&second).await?, &ReleaseOutcome::Ended)?;
    same("another request", &case.claim(&intruder(&dead)).await?, &ClaimOutcome::OtherRequest)?;
    let third = rival(&dead);
    let fence = case.win(&third, true).await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))?;
    case.stands(&third, fence, true).await
}

pub(super) async fn abandoned<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let before = case.win(&first, false).await?;
    same("abandon", &case.abandon(&first).await?, &ReleaseOutcome::Ended)?;
    let dead = Lookup::Running { fingerprint: first.fingerprint, left: Duration::ZERO };
    same("the key", &case.look(&first).await?, &dead)?;
    let second = rival(&first);
    let fence = case.win(&second, true).await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))?;
    same("a late abandon", &case.abandon(&first).await?, &ReleaseOutcome::NotOurs)?;
    case.stands(&second, fence, true).await
}

pub(super) async fn foreign<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let fence = case.win(&first, false).await?;
    for other in [rival(&first), intruder(&first)] {
        same("release", &case.release(&other).await?, &ReleaseOutcome::NotOurs)?;
        case.stands(&first, fence, false).await?;
        same("abandon", &case.abandon(&other).await?, &ReleaseOutcome::NotOurs)?;
        case.stands(&first, fence, false).await?;
    }
    Ok(())
}

pub(super) async fn finished<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let fence = case.win(&first, false).await?;
    same("complete", &case.complete(&first, fence, b"record").await?, &CompleteOutcome::Stored)?;
    for attempt in [rival(&first), first] {
        same("release", &case.release(&attempt).await?, &ReleaseOutcome::NotOurs)?;
        same("abandon", &case.abandon(&attempt).await?, &ReleaseOutcome::NotOurs)?;
        same("the record", &case.claim(&rival(&attempt)).await?, &ClaimOutcome::Done(b"record".as_slice().into()))?;
    }
    Ok(())
}

pub(super) async fn absent<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    same("release", &case.release(&first).await?, &ReleaseOutcome::NotOurs)?;
    same("abandon", &case.abandon(&first).await?, &ReleaseOutcome::NotOurs)?;
    same("the key", &case.look(&first).await?, &Lookup::Absent)
}
