//! Checks look-ups.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::case::{Case, LONG, Verdict, attempt, ensure, same};
use crate::store::{CompleteOutcome, Lookup, Store, StoreError};

pub(super) async fn each_state<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let fingerprint = first.fingerprint;
    for _ in 0..2 {
        same("before the claim", &case.look(&first).await?, &Lookup::Absent)?;
    }
    let fence = case.win(&first, false).await?;
    for _ in 0..2 {
        match case.look(&first).await? {
            Lookup::Running { fingerprint: seen, left } if seen == fingerprint && !left.is_zero() && left <= LONG => {}
            other => return Err(format!("{other:?} while it runs")),
        }
    }
    case.stands(&first, fence, false).await?;
    case.die(&first).await?;
    let dead = Lookup::Running { fingerprint, left: Duration::ZERO };
    same("after it died", &case.look(&first).await?, &dead)?;
    same("complete", &case.complete(&first, fence, b"record").await?, &CompleteOutcome::Stored)?;
    for _ in 0..2 {
        let done = Lookup::Done { fingerprint, record: b"record".as_slice().into() };
        same("when it is finished", &case.look(&first).await?, &done)?;
    }
    Ok(())
}

pub(super) async fn clock<S: Store>(case: Case<S>) -> Verdict {
    let failed = |error: StoreError| format!("now failed: {error}");
    let before = case.store.now().await.map_err(failed)?;
    sleep(Duration::from_millis(50)).await;
    let after = case.store.now().await.map_err(failed)?;
    ensure(before < after, || "it stands still".to_owned())?;
    // The store's clock may be wrong, but not by a day.
    let off = SystemTime::now().duration_since(after).unwrap_or_else(|ahead| ahead.duration());
    ensure(off < Duration::from_secs(24 * 60 * 60), || format!("it is off by {off:?}"))
}
