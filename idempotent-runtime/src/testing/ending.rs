//! Checks the end of an attempt: with a response, and without one.

use std::time::Duration;

use super::case::{Case, Verdict, attempt, ensure, intruder, rival, same};
use crate::store::{ClaimOutcome, Claims as _, CompleteOutcome, Lookup, ReleaseOutcome, Store};

pub(super) async fn byte_for_byte<S: Store>(case: Case<S>) -> Verdict {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = every_byte.iter().copied().cycle().take(100_000).collect();
    for record in [Vec::new(), vec![0], b"\r\n$-1\r\n".to_vec(), every_byte, large] {
        let (first, fence) = case.begun().await?;
        same("complete", &case.complete(&first, fence, record.clone().into()).await?, &CompleteOutcome::Stored)?;
        let done = ClaimOutcome::Done(record.into());
        // Its own attempt as well: that is a claim which is repeated very late.
        for attempt in [rival(&first), first] {
            if case.claim(&attempt).await? != done {
                return Err("another record came back".to_owned());
            }
        }
    }
    Ok(())
}

pub(super) async fn completed_twice<S: Store>(case: Case<S>) -> Verdict {
    let (first, fence) = case.begun().await?;
    case.finish(&first, fence).await?;
    same("complete again", &case.complete(&first, fence, "second".into()).await?, &CompleteOutcome::AlreadyStored)?;
    case.replays(&first, b"record").await
}

pub(super) async fn completed_absent<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    case.finish(&first, 7).await?;
    case.replays(&first, b"record").await?;
    same("another request", &case.claim(&intruder(&first)).await?, &ClaimOutcome::OtherRequest)?;
    same("complete again", &case.complete(&first, 7, "record".into()).await?, &CompleteOutcome::AlreadyStored)
}

pub(super) async fn completed_by_another<S: Store>(case: Case<S>) -> Verdict {
    let (first, fence) = case.begun().await?;
    for other in [rival(&first), intruder(&first)] {
        same("while it runs", &case.complete(&other, fence, "foreign".into()).await?, &CompleteOutcome::Lost)?;
        case.stands(&first, fence, false).await?;
    }
    case.finish(&first, fence).await?;
    same(
        "when it is finished",
        &case.complete(&rival(&first), fence + 1, "foreign".into()).await?,
        &CompleteOutcome::Lost,
    )?;
    let kept = Lookup::Done { fingerprint: first.fingerprint, record: b"record".as_slice().into() };
    same("the record", &case.lookup(&first.key).await?, &kept)
}

pub(super) async fn completed_late<S: Store>(case: Case<S>) -> Verdict {
    let (first, before) = case.begun().await?;
    let (second, fence) = case.taken_over(&first).await?;
    same("while the second runs", &case.complete(&first, before, "late".into()).await?, &CompleteOutcome::Lost)?;
    case.stands(&second, fence, true).await?;
    case.finish(&second, fence).await?;
    same("when it is finished", &case.complete(&first, before, "late".into()).await?, &CompleteOutcome::Lost)?;
    same("the record", &case.claim(&first).await?, &ClaimOutcome::Done(b"record".as_slice().into()))
}

pub(super) async fn replaced<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    same("when the key is absent", &case.replace(&first, 7, "whole".into()).await?, &CompleteOutcome::Lost)?;
    let fence = case.win(&first, false).await?;
    same("while it runs", &case.replace(&first, fence, "whole".into()).await?, &CompleteOutcome::Lost)?;
    case.stands(&first, fence, false).await?;
    case.finish(&first, fence).await?;
    let foreign = case.replace(&rival(&first), fence + 1, "foreign".into()).await?;
    same("by another token", &foreign, &CompleteOutcome::Lost)?;
    case.replays(&first, b"record").await?;
    // Twice: the answer to the first may have been lost.
    for _ in 0..2 {
        same("replace", &case.replace(&first, fence, "whole".into()).await?, &CompleteOutcome::Stored)?;
    }
    case.replays(&first, b"whole").await?;
    same("another request", &case.claim(&intruder(&first)).await?, &ClaimOutcome::OtherRequest)
}

pub(super) async fn released<S: Store>(case: Case<S>) -> Verdict {
    let (first, before) = case.begun().await?;
    same("release", &case.release(&first).await?, &ReleaseOutcome::Ended)?;
    same("the key", &case.lookup(&first.key).await?, &Lookup::Absent)?;
    same("release again", &case.release(&first).await?, &ReleaseOutcome::NotOurs)?;
    // Even another request may have it now.
    let next = intruder(&first);
    let fence = case.win(&next, false).await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))?;
    same("a late release", &case.release(&first).await?, &ReleaseOutcome::NotOurs)?;
    same("a late completion", &case.complete(&first, before, "late".into()).await?, &CompleteOutcome::Lost)?;
    case.stands(&next, fence, false).await
}

pub(super) async fn released_takeover<S: Store>(case: Case<S>) -> Verdict {
    let (dead, _) = case.begun().await?;
    let (second, before) = case.taken_over(&dead).await?;
    same("release", &case.release(&second).await?, &ReleaseOutcome::Ended)?;
    same("another request", &case.claim(&intruder(&dead)).await?, &ClaimOutcome::OtherRequest)?;
    let third = rival(&dead);
    let fence = case.win(&third, true).await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))?;
    case.stands(&third, fence, true).await
}

pub(super) async fn abandoned<S: Store>(case: Case<S>) -> Verdict {
    let (first, before) = case.begun().await?;
    case.die(&first).await?;
    let dead = Lookup::Running { fingerprint: first.fingerprint, left: Duration::ZERO };
    same("the key", &case.lookup(&first.key).await?, &dead)?;
    let second = rival(&first);
    let fence = case.win(&second, true).await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))?;
    same("a late abandon", &case.abandon(&first).await?, &ReleaseOutcome::NotOurs)?;
    case.stands(&second, fence, true).await
}

pub(super) async fn ended_by_another<S: Store>(case: Case<S>) -> Verdict {
    let (first, fence) = case.begun().await?;
    for other in [rival(&first), intruder(&first)] {
        same("release", &case.release(&other).await?, &ReleaseOutcome::NotOurs)?;
        case.stands(&first, fence, false).await?;
        same("abandon", &case.abandon(&other).await?, &ReleaseOutcome::NotOurs)?;
        case.stands(&first, fence, false).await?;
    }
    Ok(())
}

pub(super) async fn ended_when_finished<S: Store>(case: Case<S>) -> Verdict {
    let (first, fence) = case.begun().await?;
    case.finish(&first, fence).await?;
    for attempt in [rival(&first), first] {
        same("release", &case.release(&attempt).await?, &ReleaseOutcome::NotOurs)?;
        same("abandon", &case.abandon(&attempt).await?, &ReleaseOutcome::NotOurs)?;
        case.replays(&attempt, b"record").await?;
    }
    Ok(())
}

pub(super) async fn ended_absent<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    same("release", &case.release(&first).await?, &ReleaseOutcome::NotOurs)?;
    same("abandon", &case.abandon(&first).await?, &ReleaseOutcome::NotOurs)?;
    same("the key", &case.lookup(&first.key).await?, &Lookup::Absent)
}
