//! Checks who gets a key.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use super::case::{Case, LONG, Verdict, attempt, ensure, intruder, rival, same};
use crate::store::{
    Acquired, ClaimOutcome, ClaimRequest, Claims, CompleteOutcome, ReleaseOutcome, RenewOutcome, Store, StoreKey,
};

/// Sends all claims at once and gives back the answers.
pub(super) async fn all_at_once<S: Store>(
    case: &Case<S>,
    attempts: Vec<ClaimRequest>,
) -> Result<Vec<ClaimOutcome>, String> {
    let mut claims = JoinSet::new();
    for attempt in attempts {
        let store = Arc::clone(&case.store);
        claims.spawn(async move { store.claim(&attempt).await });
    }
    claims.join_all().await.into_iter().map(|answer| answer.map_err(|error| format!("claim failed: {error}"))).collect()
}

pub(super) async fn one_of_many<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let answers = all_at_once(&case, (0..100).map(|_| rival(&first)).collect()).await?;
    let winners = answers
        .iter()
        .filter(|answer| matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: false, .. })))
        .count();
    let waiting = answers.iter().filter(|answer| matches!(answer, ClaimOutcome::Running { .. })).count();
    ensure((winners, waiting) == (1, 99), || format!("{winners} got the key and {waiting} met a running attempt"))
}

pub(super) async fn same_token<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let answers = all_at_once(&case, vec![first.clone(); 20]).await?;
    let fence = case.win(&first, false).await?;
    let same_claim = ClaimOutcome::Acquired(Acquired::new(fence, false));
    answers.iter().try_for_each(|answer| same("a repeated claim", answer, &same_claim))
}

pub(super) async fn other_request<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let other = intruder(&first);
    let fence = case.win(&first, false).await?;
    same("while it runs", &case.claim(&other).await?, &ClaimOutcome::OtherRequest)?;
    case.die(&first).await?;
    same("after it died", &case.claim(&other).await?, &ClaimOutcome::OtherRequest)?;
    same("complete", &case.complete(&first, fence, b"record").await?, &CompleteOutcome::Stored)?;
    same("when it is finished", &case.claim(&other).await?, &ClaimOutcome::OtherRequest)
}

pub(super) async fn what_is_left<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    case.win(&first, false).await?;
    let mut before = LONG + Duration::from_millis(1);
    for _ in 0..3 {
        match case.claim(&rival(&first)).await? {
            ClaimOutcome::Running { left } if !left.is_zero() && left < before => before = left,
            other => return Err(format!("{other:?}, when less than {before:?} were left")),
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

pub(super) async fn different_keys<S: Store>(case: Case<S>) -> Verdict {
    let name = attempt().key;
    let name = name.as_str();
    let long = "x".repeat(600);
    let names = ["", "\u{0}", " ", "{", "{}", "{a}", "{b}", ":", "%3A", "é", "e\u{301}", "A", "a", &long];
    for ending in names {
        let attempt = ClaimRequest { key: StoreKey::new(format!("{name}{ending}")), ..attempt() };
        case.win(&attempt, false).await.map_err(|seen| format!("with {ending:?} at its end, {seen}"))?;
    }
    Ok(())
}

pub(super) async fn growing_fence<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let mut fences = Vec::new();
    // Three find the key free, and then each one takes over.
    for round in 0..6 {
        let next = rival(&first);
        fences.push(case.win(&next, round > 3).await?);
        let ended = if round < 3 { case.release(&next).await? } else { case.abandon(&next).await? };
        same("ending", &ended, &ReleaseOutcome::Ended)?;
    }
    let sorted: Vec<u64> = fences.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    same("fences in order", &fences, &sorted)?;

    // This must also hold if the last fence is ahead of all that this store would propose, as after a step of its
    // clock.
    let (ahead, next) = (attempt(), 1 << 52);
    same("renew", &case.renew(&ahead, next).await?, &RenewOutcome::Recreated)?;
    case.die(&ahead).await?;
    let fence = case.win(&rival(&ahead), true).await?;
    ensure(fence > next, || format!("fence {fence} after {next}"))
}
