//! Checks what a look shows, how long records are kept, and the store's clock.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};

use super::case::{Case, LONG, SHORT, Verdict, attempt, comes, ensure, failed, rival, same};
use crate::store::{ClaimRequest, Claims as _, Lookup, Store};

pub(super) async fn each_state<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let fingerprint = first.fingerprint;
    for _ in 0..2 {
        same("before the claim", &case.lookup(&first.key).await?, &Lookup::Absent)?;
    }
    let fence = case.win(&first, false).await?;
    for _ in 0..2 {
        match case.lookup(&first.key).await? {
            Lookup::Running { fingerprint: seen, left } if seen == fingerprint && !left.is_zero() && left <= LONG => {}
            other => return Err(format!("{other:?} while it runs")),
        }
    }
    case.stands(&first, fence, false).await?;
    case.die(&first).await?;
    let dead = Lookup::Running { fingerprint, left: Duration::ZERO };
    same("after it died", &case.lookup(&first.key).await?, &dead)?;
    case.finish(&first, fence).await?;
    for _ in 0..2 {
        let done = Lookup::Done { fingerprint, record: b"record".as_slice().into() };
        same("when it is finished", &case.lookup(&first.key).await?, &done)?;
    }
    Ok(())
}

pub(super) async fn finished_expires<S: Store>(case: Case<S>) -> Verdict {
    let ttl = Duration::from_millis(700);
    let first = ClaimRequest { ttl, ..attempt() };
    let before = case.win(&first, false).await?;
    // A ttl that is counted from the claim would end too early by this time.
    sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    case.finish(&first, before).await?;
    let end = comes("the end of the ttl", start, ttl, async || match case.lookup(&first.key).await? {
        Lookup::Done { .. } => Ok(None),
        Lookup::Absent => Ok(Some(())),
        other => Err(format!("{other:?} for a finished record")),
    });
    end.await?;
    let fence = case.win(&rival(&first), false).await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))
}

pub(super) async fn dead_expires<S: Store>(case: Case<S>) -> Verdict {
    // A busy machine has this long to see the attempt dead.
    let ttl = Duration::from_secs(3);
    let first = ClaimRequest { lease: SHORT, ttl, ..attempt() };
    let start = Instant::now();
    case.win(&first, false).await?;
    let known_dead = AtomicBool::new(false);
    let end = comes("the end of what is known", start, SHORT + ttl, async || match case.lookup(&first.key).await? {
        Lookup::Running { left, .. } => {
            known_dead.fetch_or(left.is_zero(), Relaxed);
            Ok(None)
        }
        Lookup::Absent => Ok(Some(())),
        other => Err(format!("{other:?} for an attempt that died")),
    });
    end.await?;
    ensure(known_dead.load(Relaxed), || "it was forgotten with its lease".to_owned())?;
    case.win(&rival(&first), false).await.map(drop)
}

pub(super) async fn clock<S: Store>(case: Case<S>) -> Verdict {
    let before = case.store.now().await.map_err(failed("now"))?;
    sleep(Duration::from_millis(50)).await;
    let after = case.store.now().await.map_err(failed("now"))?;
    ensure(before < after, || "it stands still".to_owned())?;
    // The store's clock may be wrong, but not by a day.
    let off = SystemTime::now().duration_since(after).unwrap_or_else(|ahead| ahead.duration());
    ensure(off < Duration::from_secs(24 * 60 * 60), || format!("it is off by {off:?}"))
}
