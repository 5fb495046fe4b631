//! Checks who gets a key: one that is free, and one whose attempt died.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::case::{Case, LONG, SHORT, Verdict, attempt, comes, ensure, failed, intruder, rival, same};
use crate::{
    config::policy::Takeover,
    store::{Acquired, ClaimOutcome, ClaimRequest, Claims, ReleaseOutcome, RenewOutcome, Store, StoreKey},
};

/// Sends all claims at once and gives back the answers.
async fn all_at_once<S: Store>(case: &Case<S>, attempts: Vec<ClaimRequest>) -> Result<Vec<ClaimOutcome>, String> {
    let mut claims = JoinSet::new();
    for attempt in attempts {
        let store = Arc::clone(&case.store);
        claims.spawn(async move { store.claim(&attempt).await });
    }
    claims.join_all().await.into_iter().map(|answer| answer.map_err(failed("claim"))).collect()
}

/// How many of these attempts at one request get the key, and how many meet a running attempt.
async fn race<S: Store>(
    case: &Case<S>,
    first: &ClaimRequest,
    attempts: usize,
    recovering: bool,
) -> Result<(usize, usize), String> {
    let answers = all_at_once(case, (0..attempts).map(|_| rival(first)).collect()).await?;
    let won = |answer: &&ClaimOutcome| matches!(answer, ClaimOutcome::Acquired(held) if held.recovering == recovering);
    let waits = |answer: &&ClaimOutcome| matches!(answer, ClaimOutcome::Running { .. });
    Ok((answers.iter().filter(won).count(), answers.iter().filter(waits).count()))
}

pub(super) async fn one_of_many<S: Store>(case: Case<S>) -> Verdict {
    let (won, waiting) = race(&case, &attempt(), 100, false).await?;
    ensure((won, waiting) == (1, 99), || format!("{won} got the key and {waiting} met a running attempt"))
}

pub(super) async fn same_token<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let answers = all_at_once(&case, vec![first.clone(); 20]).await?;
    let fence = case.win(&first, false).await?;
    let same_claim = ClaimOutcome::Acquired(Acquired::new(fence, false));
    answers.iter().try_for_each(|answer| same("a repeated claim", answer, &same_claim))
}

pub(super) async fn other_request<S: Store>(case: Case<S>) -> Verdict {
    let (first, fence) = case.begun().await?;
    let other = intruder(&first);
    same("while it runs", &case.claim(&other).await?, &ClaimOutcome::OtherRequest)?;
    case.die(&first).await?;
    same("after it died", &case.claim(&other).await?, &ClaimOutcome::OtherRequest)?;
    case.finish(&first, fence).await?;
    same("when it is finished", &case.claim(&other).await?, &ClaimOutcome::OtherRequest)
}

pub(super) async fn what_is_left<S: Store>(case: Case<S>) -> Verdict {
    let (first, _) = case.begun().await?;
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
    let (ahead, next) = (attempt(), Acquired::new(1 << 52, false));
    same("renew", &case.renew(&ahead, &next).await?, &RenewOutcome::Recreated)?;
    let (_, fence) = case.taken_over(&ahead).await?;
    ensure(fence > next.fence, || format!("fence {fence} after {}", next.fence))
}

pub(super) async fn after_the_lease<S: Store>(case: Case<S>) -> Verdict {
    let first = ClaimRequest { lease: SHORT, ..attempt() };
    let second = ClaimRequest { lease: LONG, ..rival(&first) };
    let start = Instant::now();
    let before = case.win(&first, false).await?;
    let fence = comes("the takeover", start, SHORT, async || case.try_to_take_over(&second).await).await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))?;
    case.stands(&second, fence, true).await?;
    case.meets_running(&first, "for the attempt that was taken over").await
}

pub(super) async fn one_takeover_of_many<S: Store>(case: Case<S>) -> Verdict {
    let (first, _) = case.begun().await?;
    case.die(&first).await?;
    let (won, waiting) = race(&case, &first, 50, true).await?;
    ensure((won, waiting) == (1, 49), || format!("{won} took over and {waiting} met a running attempt"))
}

pub(super) async fn same_takeover<S: Store>(case: Case<S>) -> Verdict {
    let (first, _) = case.begun().await?;
    let (second, fence) = case.taken_over(&first).await?;
    let answers = all_at_once(&case, vec![second; 20]).await?;
    answers
        .iter()
        .try_for_each(|answer| same("a repeated takeover", answer, &ClaimOutcome::Acquired(Acquired::new(fence, true))))
}

pub(super) async fn refused<S: Store>(case: Case<S>) -> Verdict {
    let (first, before) = case.begun().await?;
    let careful = ClaimRequest { takeover: Takeover::Refuse, ..rival(&first) };
    case.meets_running(&careful, "while the lease lives").await?;
    case.die(&first).await?;
    same("after it is over", &case.claim(&careful).await?, &ClaimOutcome::Died)?;
    same("and when asked again", &case.claim(&careful).await?, &ClaimOutcome::Died)?;
    let fence = case.win(&rival(&first), true).await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))
}
