//! Checks single swaps: the calls that the search makes on some of its paths, with commands that arrive late or twice.

use std::time::Duration;

use bytes::Bytes;

use super::{
    case::{Case, Verdict, attempt},
    search::{Bounds, search},
};
use crate::store::{Change, Expect, Put, Store, StoreError, Swapped};

/// Two attempts, of which one may outlive its lease.
const TWO: Bounds =
    Bounds { attempts: 2, given_up: 0, doubled: 1, crashes: 0, losses: 0, ticks: 1, renewals: 1, steps: 1 };

/// One attempt whose calls are given up, and whose record is lost.
const LATE: Bounds =
    Bounds { attempts: 1, given_up: 2, doubled: 0, crashes: 0, losses: 1, ticks: 2, renewals: 1, steps: 2 };

pub(super) async fn paths<S: Store>(case: Case<S>) -> Verdict {
    for bounds in [TWO, LATE] {
        for path in search(bounds, None, 2_000, 100).paths {
            if case.store.is_shared() || !path.frees() {
                path.replay(&*case.store, &attempt().key).await?;
            }
        }
    }
    late(&case).await
}

/// Not every search of this length meets a write that comes too late.
async fn late<S: Store>(case: &Case<S>) -> Verdict {
    let request = attempt();
    let failed = |error: StoreError| format!("a call failed: {error}");
    let now = case.store.now().await.map_err(failed)?;
    let put = Put::new(request.running(Change::FIRST, false, 1), Bytes::new());
    let put = Put { not_after: Some(now - Duration::from_secs(60)), ..put };
    match case.store.swap(&request.key, &Expect::Absent, &put).await.map_err(failed)? {
        Swapped::Late => Ok(()),
        other => Err(format!("a write that came too late was answered {other:?}")),
    }
}
