//! Checks what happens to a key whose attempt died.

use tokio::time::Instant;

use super::{
    case::{Case, LONG, SHORT, Verdict, attempt, comes, ensure, rival, same},
    claiming::all_at_once,
};
use crate::{
    config::policy::Takeover,
    store::{Acquired, ClaimOutcome, ClaimRequest, Store},
};

pub(super) async fn after_the_lease<S: Store>(case: Case<S>) -> Verdict {
    let first = ClaimRequest { lease: SHORT, ..attempt() };
    let second = ClaimRequest { lease: LONG, ..rival(&first) };
    let start = Instant::now();
    let before = case.win(&first, false).await?;
    let fence = comes("the takeover", start, SHORT, async || match case.claim(&second).await? {
        ClaimOutcome::Acquired(Acquired { fence, recovering: true, .. }) => Ok(Some(fence)),
        ClaimOutcome::Running { left } if left <= SHORT => Ok(None),
        other => Err(format!("{other:?} after a lease of {SHORT:?}")),
    });
    let fence = fence.await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))?;
    case.stands(&second, fence, true).await?;
    match case.claim(&first).await? {
        ClaimOutcome::Running { .. } => Ok(()),
        other => Err(format!("{other:?} for the attempt that was taken over")),
    }
}

pub(super) async fn one_of_many<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    case.win(&first, false).await?;
    case.die(&first).await?;
    let answers = all_at_once(&case, (0..50).map(|_| rival(&first)).collect()).await?;
    let winners = answers
        .iter()
        .filter(|answer| matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: true, .. })))
        .count();
    let waiting = answers.iter().filter(|answer| matches!(answer, ClaimOutcome::Running { .. })).count();
    ensure((winners, waiting) == (1, 49), || format!("{winners} took over and {waiting} met a running attempt"))
}

pub(super) async fn same_token<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    case.win(&first, false).await?;
    case.die(&first).await?;
    let second = rival(&first);
    let fence = case.win(&second, true).await?;
    let answers = all_at_once(&case, vec![second; 20]).await?;
    answers
        .iter()
        .try_for_each(|answer| same("a repeated takeover", answer, &ClaimOutcome::Acquired(Acquired::new(fence, true))))
}

pub(super) async fn refused<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let careful = ClaimRequest { takeover: Takeover::Refuse, ..rival(&first) };
    let before = case.win(&first, false).await?;
    match case.claim(&careful).await? {
        ClaimOutcome::Running { .. } => {}
        other => return Err(format!("{other:?} while the lease lives")),
    }
    case.die(&first).await?;
    same("after it is over", &case.claim(&careful).await?, &ClaimOutcome::Died)?;
    same("and when asked again", &case.claim(&careful).await?, &ClaimOutcome::Died)?;
    let fence = case.win(&rival(&first), true).await?;
    ensure(fence > before, || format!("fence {fence} after {before}"))
}
