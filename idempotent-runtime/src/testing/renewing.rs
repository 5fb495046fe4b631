//! Checks what a running attempt writes: renewals of its lease, and saved steps.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::case::{Case, LONG, SHORT, Verdict, attempt, comes, ensure, intruder, rival, same};
use crate::store::{
    Acquired, ClaimOutcome, ClaimRequest, Claims as _, CompleteOutcome, Lookup, ReleaseOutcome, RenewOutcome,
    SaveOutcome, Store,
};

/// The fence of a claim that the store has lost.
const LOST_FENCE: u64 = 1_700_000_000_000_000;

pub(super) async fn keeps_the_claim<S: Store>(case: Case<S>) -> Verdict {
    // Renewed six times in each lease, so that a busy machine may be late by two seconds.
    let first = ClaimRequest { lease: Duration::from_secs(3), ..attempt() };
    let fence = case.win(&first, false).await?;
    for _ in 0..8 {
        sleep(Duration::from_millis(500)).await;
        let before = left(case.lookup(&first.key).await?)?;
        same("renew", &case.renew(&first, &Acquired::new(fence, false)).await?, &RenewOutcome::Renewed)?;
        let after = left(case.lookup(&first.key).await?)?;
        ensure(after > before, || format!("{after:?} left after a renewal, {before:?} before it"))?;
        case.meets_running(&rival(&first), "while the lease is renewed").await?;
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
    let (first, _) = case.begun().await?;
    let (second, fence) = case.taken_over(&first).await?;
    same("renew", &case.renew(&second, &Acquired::new(fence, true)).await?, &RenewOutcome::Renewed)?;
    case.stands(&second, fence, true).await
}

pub(super) async fn creates_a_claim<S: Store>(case: Case<S>) -> Verdict {
    let (first, held) = (attempt(), Acquired::new(LOST_FENCE, false));
    same("renew", &case.renew(&first, &held).await?, &RenewOutcome::Recreated)?;
    case.stands(&first, LOST_FENCE, false).await?;
    same("renew again", &case.renew(&first, &held).await?, &RenewOutcome::Renewed)?;
    case.finish(&first, LOST_FENCE).await
}

pub(super) async fn creates_a_takeover<S: Store>(case: Case<S>) -> Verdict {
    let (first, held) = (attempt(), Acquired::new(LOST_FENCE, true));
    same("renew", &case.renew(&first, &held).await?, &RenewOutcome::Recreated)?;
    case.stands(&first, LOST_FENCE, true).await?;
    // The effects of the dead attempt are still unknown, so a release does not free the key.
    same("release", &case.release(&first).await?, &ReleaseOutcome::Ended)?;
    case.win(&rival(&first), true).await.map(drop)
}

pub(super) async fn when_finished<S: Store>(case: Case<S>) -> Verdict {
    let (first, fence) = case.begun().await?;
    case.finish(&first, fence).await?;
    same("renew", &case.renew(&first, &Acquired::new(fence, false)).await?, &RenewOutcome::Completed)?;
    case.replays(&first, b"record").await
}

pub(super) async fn by_another<S: Store>(case: Case<S>) -> Verdict {
    let (first, fence) = case.begun().await?;
    let held = Acquired::new(fence, false);
    for other in [rival(&first), intruder(&first)] {
        same("renew", &case.renew(&other, &held).await?, &RenewOutcome::Lost)?;
        case.stands(&first, fence, false).await?;
    }
    case.finish(&first, fence).await?;
    same("renew", &case.renew(&rival(&first), &held).await?, &RenewOutcome::Lost)?;
    same("the record", &case.claim(&first).await?, &ClaimOutcome::Done(b"record".as_slice().into()))
}

/// Claims the key, and checks that the attempt recovers and gets these steps. Returns the fence.
async fn win_with<S: Store>(case: &Case<S>, attempt: &ClaimRequest, steps: &'static [u8]) -> Result<u64, String> {
    match case.claim(attempt).await? {
        ClaimOutcome::Acquired(Acquired { fence, recovering: true, steps: seen }) if seen == steps => Ok(fence),
        other => Err(format!("{other:?} instead of Acquired, recovering, with {} bytes of steps", steps.len())),
    }
}

/// A claim that has saved the step `one`.
pub(super) async fn with_a_step<S: Store>(case: &Case<S>) -> Result<(ClaimRequest, u64), String> {
    let (first, fence) = case.begun().await?;
    same("save", &case.save_steps(&first, fence, "one".into()).await?, &SaveOutcome::Saved)?;
    Ok((first, fence))
}

pub(super) async fn saved_steps<S: Store>(case: Case<S>) -> Verdict {
    let (first, fence) = with_a_step(&case).await?;
    same("the fence", &win_with(&case, &first, b"one").await?, &fence)?;
    // Any bytes, longer and shorter than those that were saved before.
    for steps in [b"\0\xff\r\n two".as_slice(), b"3"] {
        same("save again", &case.save_steps(&first, fence, steps.into()).await?, &SaveOutcome::Saved)?;
        same("the fence", &win_with(&case, &first, steps).await?, &fence)?;
    }
    same("another request", &case.claim(&intruder(&first)).await?, &ClaimOutcome::OtherRequest)?;
    case.meets_running(&rival(&first), "while it runs").await
}

pub(super) async fn inherited_steps<S: Store>(case: Case<S>) -> Verdict {
    let (first, before) = with_a_step(&case).await?;
    // The response would free the key, but the steps are kept.
    same("release", &case.release(&first).await?, &ReleaseOutcome::Ended)?;
    same("another request", &case.claim(&intruder(&first)).await?, &ClaimOutcome::OtherRequest)?;
    let second = rival(&first);
    let fence = win_with(&case, &second, b"one").await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))?;
    case.die(&second).await?;
    let third = rival(&first);
    let fence = win_with(&case, &third, b"one").await?;
    same("a repeated takeover", &win_with(&case, &third, b"one").await?, &fence)?;
    same("save", &case.save_steps(&third, fence, "one and two".into()).await?, &SaveOutcome::Saved)?;
    same("release", &case.release(&third).await?, &ReleaseOutcome::Ended)?;
    win_with(&case, &rival(&first), b"one and two").await.map(drop)
}

pub(super) async fn steps_by_another<S: Store>(case: Case<S>) -> Verdict {
    let (first, before) = with_a_step(&case).await?;
    for other in [rival(&first), intruder(&first)] {
        same("by another token", &case.save_steps(&other, before, "foreign".into()).await?, &SaveOutcome::Lost)?;
    }
    win_with(&case, &first, b"one").await?;
    case.die(&first).await?;
    let second = rival(&first);
    let fence = win_with(&case, &second, b"one").await?;
    same("after a takeover", &case.save_steps(&first, before, "late".into()).await?, &SaveOutcome::Lost)?;
    win_with(&case, &second, b"one").await?;
    case.finish(&second, fence).await?;
    same("after the end", &case.save_steps(&second, fence, "late".into()).await?, &SaveOutcome::Lost)?;
    same("the record", &case.claim(&first).await?, &ClaimOutcome::Done(b"record".as_slice().into()))
}

pub(super) async fn creates_with_steps<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    same("save", &case.save_steps(&first, LOST_FENCE, "one".into()).await?, &SaveOutcome::Saved)?;
    same("the fence", &win_with(&case, &first, b"one").await?, &LOST_FENCE)?;
    let second = attempt();
    let held = Acquired { fence: LOST_FENCE, recovering: true, steps: Bytes::from_static(b"one") };
    same("renew", &case.renew(&second, &held).await?, &RenewOutcome::Recreated)?;
    same("the fence", &win_with(&case, &second, b"one").await?, &LOST_FENCE)?;
    case.die(&second).await?;
    win_with(&case, &rival(&second), b"one").await.map(drop)
}

pub(super) async fn steps_start_no_lease<S: Store>(case: Case<S>) -> Verdict {
    let (kept, fence) = with_a_step(&case).await?;
    same("renew", &case.renew(&kept, &Acquired::new(fence, false)).await?, &RenewOutcome::Renewed)?;
    win_with(&case, &kept, b"one").await?;

    let first = ClaimRequest { lease: SHORT, ..attempt() };
    let second = ClaimRequest { lease: LONG, ..rival(&first) };
    let start = Instant::now();
    let before = case.win(&first, false).await?;
    let takeover = comes("the takeover", start, SHORT, async || {
        case.save_steps(&first, before, "one".into()).await?;
        case.try_to_take_over(&second).await
    });
    takeover.await.map(drop)
}

pub(super) async fn steps_when_finished<S: Store>(case: Case<S>) -> Verdict {
    let (first, fence) = with_a_step(&case).await?;
    case.finish(&first, fence).await?;
    case.replays(&first, b"record").await?;
    same("complete again", &case.complete(&first, fence, "record".into()).await?, &CompleteOutcome::AlreadyStored)
}
