//! Checks saved steps.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::case::{Case, LONG, SHORT, Verdict, attempt, comes, ensure, intruder, rival, same};
use crate::store::{
    Acquired, ClaimOutcome, ClaimRequest, Claims, CompleteOutcome, ReleaseOutcome, RenewOutcome, SaveOutcome, Store,
};

const SAVED: Option<SaveOutcome> = Some(SaveOutcome::Saved);

/// Claims the key, and checks that the attempt recovers and gets these steps. Returns the fence.
async fn win_with<S: Store>(case: &Case<S>, attempt: &ClaimRequest, steps: &'static [u8]) -> Result<u64, String> {
    match case.claim(attempt).await? {
        ClaimOutcome::Acquired(Acquired { fence, recovering: true, steps: seen }) if seen == steps => Ok(fence),
        other => Err(format!("{other:?} instead of Acquired, recovering, with {} bytes of steps", steps.len())),
    }
}

/// A claim that has saved these steps. `None` if the store keeps no steps.
async fn with_steps<S: Store>(case: &Case<S>, steps: &'static [u8]) -> Result<Option<(ClaimRequest, u64)>, String> {
    let first = attempt();
    let fence = case.win(&first, false).await?;
    let Some(saved) = case.save(&first, fence, steps).await? else { return Ok(None) };
    same("save", &saved, &SaveOutcome::Saved)?;
    Ok(Some((first, fence)))
}

pub(super) async fn saved<S: Store>(case: Case<S>) -> Verdict {
    let Some((first, fence)) = with_steps(&case, b"one").await? else { return Ok(()) };
    same("the fence", &win_with(&case, &first, b"one").await?, &fence)?;
    // Any bytes, longer and shorter than those that were saved before.
    for steps in [b"\0\xff\r\n two".as_slice(), b"3"] {
        same("save again", &case.save(&first, fence, steps).await?, &SAVED)?;
        same("the fence", &win_with(&case, &first, steps).await?, &fence)?;
    }
    same("another request", &case.claim(&intruder(&first)).await?, &ClaimOutcome::OtherRequest)?;
    match case.claim(&rival(&first)).await? {
        ClaimOutcome::Running { .. } => Ok(()),
        other => Err(format!("{other:?} while it runs")),
    }
}

pub(super) async fn inherited<S: Store>(case: Case<S>) -> Verdict {
    let Some((first, before)) = with_steps(&case, b"one").await? else { return Ok(()) };
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
    same("save", &case.save(&third, fence, b"one and two").await?, &SAVED)?;
    same("release", &case.release(&third).await?, &ReleaseOutcome::Ended)?;
    win_with(&case, &rival(&first), b"one and two").await.map(drop)
}

pub(super) async fn foreign<S: Store>(case: Case<S>) -> Verdict {
    const LOST: Option<SaveOutcome> = Some(SaveOutcome::Lost);
    let Some((first, before)) = with_steps(&case, b"one").await? else { return Ok(()) };
    for other in [rival(&first), intruder(&first)] {
        same("by another token", &case.save(&other, before, b"foreign").await?, &LOST)?;
    }
    win_with(&case, &first, b"one").await?;
    case.die(&first).await?;
    let second = rival(&first);
    let fence = win_with(&case, &second, b"one").await?;
    same("after a takeover", &case.save(&first, before, b"late").await?, &LOST)?;
    win_with(&case, &second, b"one").await?;
    same("complete", &case.complete(&second, fence, b"record").await?, &CompleteOutcome::Stored)?;
    same("after the end", &case.save(&second, fence, b"late").await?, &LOST)?;
    same("the record", &case.claim(&first).await?, &ClaimOutcome::Done(b"record".as_slice().into()))
}

pub(super) async fn absent<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let fence = 1_700_000_000_000_000;
    let Some(saved) = case.save(&first, fence, b"one").await? else { return Ok(()) };
    same("save", &saved, &SaveOutcome::Saved)?;
    same("the fence", &win_with(&case, &first, b"one").await?, &fence)?;
    let second = attempt();
    let held = Acquired { fence, recovering: true, steps: Bytes::from_static(b"one") };
    let renewed = case.store.renew(&second, &held).await.map_err(|error| format!("renew failed: {error}"))?;
    same("renew", &renewed, &RenewOutcome::Recreated)?;
    same("the fence", &win_with(&case, &second, b"one").await?, &fence)?;
    case.die(&second).await?;
    win_with(&case, &rival(&second), b"one").await.map(drop)
}

pub(super) async fn lease<S: Store>(case: Case<S>) -> Verdict {
    let Some((kept, fence)) = with_steps(&case, b"one").await? else { return Ok(()) };
    same("renew", &case.renew(&kept, fence).await?, &RenewOutcome::Renewed)?;
    win_with(&case, &kept, b"one").await?;

    let first = ClaimRequest { lease: SHORT, ..attempt() };
    let second = ClaimRequest { lease: LONG, ..rival(&first) };
    let start = Instant::now();
    let before = case.win(&first, false).await?;
    comes("the takeover", start, SHORT, async || {
        case.save(&first, before, b"one").await?;
        match case.claim(&second).await? {
            ClaimOutcome::Acquired(Acquired { recovering: true, .. }) => Ok(Some(())),
            ClaimOutcome::Running { left } if left <= SHORT => Ok(None),
            other => Err(format!("{other:?} after a lease of {SHORT:?}")),
        }
    })
    .await
}

pub(super) async fn finished<S: Store>(case: Case<S>) -> Verdict {
    let Some((first, fence)) = with_steps(&case, b"one").await? else { return Ok(()) };
    same("complete", &case.complete(&first, fence, b"record").await?, &CompleteOutcome::Stored)?;
    let done = ClaimOutcome::Done(b"record".as_slice().into());
    same("the record", &case.claim(&rival(&first)).await?, &done)?;
    same("complete again", &case.complete(&first, fence, b"record").await?, &CompleteOutcome::AlreadyStored)
}

pub(super) async fn dropped<S: Store>(case: Case<S>) -> Verdict {
    for micros in [0, 20, 100, 300, 1_000, 5_000] {
        let Some((first, fence)) = with_steps(&case, b"one").await? else { return Ok(()) };
        let save = case.store.save_steps(&first, fence, Bytes::from_static(b"one and two"));
        let _ = timeout(Duration::from_micros(micros), save).await;
        case.die(&first).await?;
        match case.claim(&rival(&first)).await? {
            ClaimOutcome::Acquired(held) if held.steps == b"one"[..] || held.steps == b"one and two"[..] => {}
            other => return Err(format!("{other:?} after a save that was given up")),
        }
    }
    Ok(())
}
