//! Checks how long records are kept.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::case::{Case, SHORT, Verdict, attempt, comes, ensure, rival, same};
use crate::store::{Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, Lookup, Store};

pub(super) async fn finished<S: Store>(case: Case<S>) -> Verdict {
    let ttl = Duration::from_millis(700);
    let first = ClaimRequest { ttl, ..attempt() };
    let before = case.win(&first, false).await?;
    // A ttl that is counted from the claim would end too early by this time.
    sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    same("complete", &case.complete(&first, before, b"record").await?, &CompleteOutcome::Stored)?;
    let end = comes("the end of the ttl", start, ttl, async || match case.look(&first).await? {
        Lookup::Done { .. } => Ok(None),
        Lookup::Absent => Ok(Some(())),
        other => Err(format!("{other:?} for a finished record")),
    });
    end.await?;
    let fence = case.win(&rival(&first), false).await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))
}

pub(super) async fn dead<S: Store>(case: Case<S>) -> Verdict {
    // A busy machine has this long to see the attempt dead.
    let ttl = Duration::from_secs(3);
    let first = ClaimRequest { lease: SHORT, ttl, ..attempt() };
    let start = Instant::now();
    case.win(&first, false).await?;
    let known_dead = AtomicBool::new(false);
    let end = comes("the end of what is known", start, SHORT + ttl, async || match case.look(&first).await? {
        Lookup::Running { left, .. } => {
            known_dead.fetch_or(left.is_zero(), Relaxed);
            Ok(None)
        }
        Lookup::Absent => Ok(Some(())),
        other => Err(format!("{other:?} for an attempt that died")),
    });
    end.await?;
    ensure(known_dead.load(Relaxed), || "it was forgotten with its lease".to_owned())?;
    match case.claim(&rival(&first)).await? {
        ClaimOutcome::Acquired(Acquired { recovering: false, .. }) => Ok(()),
        other => Err(format!("{other:?} for a key of which nothing is known")),
    }
}
