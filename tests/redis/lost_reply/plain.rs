//! On a plain connection the caller gets an error when the answer is lost, and repeats the call.

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    StoreError, Takeover,
    store::{Acquired, ClaimOutcome, Lookup, ReleaseOutcome, RenewOutcome, SaveOutcome},
};
use support::attempts::{attempt, dead, rival, win};

use super::{Line, abandon_once, claim_once, complete_once, release_once, renew_once, take_over_once};

#[tokio::test]
async fn claim() {
    claim_once(Line::plain().await).await;
}

#[tokio::test]
async fn takeover() {
    let line = Line::plain().await;
    let first = dead(&line.store).await;
    let second = rival(&first);
    // A takeover is three round trips: the answers to the first two are let through, the third is cut off.
    line.proxy.cut_answer_after(2);
    assert!(matches!(line.store.claim(&second).await, Err(StoreError::Unreachable(_))));
    assert_eq!(line.proxy.answers_cut(), 1);
    let third = rival(&first);
    assert!(matches!(line.store.claim(&third).await, Ok(ClaimOutcome::Running { .. })), "the takeover had its effect");
    let repeated = line.store.claim(&second).await.expect("answers");
    assert!(matches!(repeated, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{repeated:?}");
    assert_eq!(line.store.claim(&second).await.expect("answers"), repeated, "and the fence stays");
}

#[tokio::test]
async fn first_answer_of_a_takeover() {
    take_over_once(Line::plain().await).await;
}

#[tokio::test]
async fn refused_takeover() {
    let line = Line::plain().await;
    let first = dead(&line.store).await;
    let mut careful = rival(&first);
    careful.takeover = Takeover::Refuse;
    assert_eq!(line.repeated(|| line.store.claim(&careful)).await, ClaimOutcome::Died);
}

#[tokio::test]
async fn complete() {
    complete_once(Line::plain().await).await;
}

#[tokio::test]
async fn renew() {
    renew_once(Line::plain().await).await;
}

/// Such a renewal is two commands. The first one finds that the claim is lost and creates nothing.
#[tokio::test]
async fn first_answer_of_a_renewal_of_a_lost_claim() {
    let line = Line::plain().await;
    let first = attempt();
    let held = Acquired::new(7, false);
    assert_eq!(line.repeated(|| line.store.renew(&first, &held)).await, RenewOutcome::Recreated);
    assert_eq!(win(&line.store, &first).await, 7);
}

/// The first renewal created the claim again, so the second one finds it.
#[tokio::test]
async fn renewal_of_a_lost_claim() {
    let line = Line::plain().await;
    let first = attempt();
    let held = Acquired::new(7, false);
    line.store.renew(&attempt(), &held).await.expect("answers");
    line.proxy.cut_answer_after(1);
    assert!(matches!(line.store.renew(&first, &held).await, Err(StoreError::Unreachable(_))));
    assert_eq!(line.store.renew(&first, &held).await.expect("answers"), RenewOutcome::Renewed);
    assert_eq!(win(&line.store, &first).await, 7);
}

#[tokio::test]
async fn save_steps() {
    let line = Line::plain().await;
    let first = attempt();
    let fence = win(&line.store, &first).await;
    assert_eq!(line.repeated(|| line.store.save_steps(&first, fence, "steps".into())).await, SaveOutcome::Saved);
    line.runs(&first).await;
    line.store.abandon(&first).await.expect("answers");
    match line.store.claim(&rival(&first)).await.expect("answers") {
        ClaimOutcome::Acquired(held) => assert_eq!((held.recovering, &held.steps[..]), (true, b"steps".as_slice())),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn release() {
    release_once(Line::plain().await).await;
}

#[tokio::test]
async fn release_of_a_takeover() {
    let line = Line::plain().await;
    let second = rival(&dead(&line.store).await);
    win(&line.store, &second).await;
    assert_eq!(line.repeated_after(1, || line.store.release(&second)).await, ReleaseOutcome::Ended);
    let answer = line.store.claim(&rival(&second)).await.expect("answers");
    assert!(matches!(answer, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{answer:?}");
}

#[tokio::test]
async fn a_repeated_release_spares_the_next_claim() {
    let line = Line::plain().await;
    let first = attempt();
    win(&line.store, &first).await;
    line.proxy.cut_answer_after(1);
    line.store.release(&first).await.expect_err("its answer is cut off");
    let second = rival(&first);
    win(&line.store, &second).await;
    assert_eq!(line.store.release(&first).await.expect("answers"), ReleaseOutcome::NotOurs);
    line.runs(&second).await;
}

#[tokio::test]
async fn abandon() {
    abandon_once(Line::plain().await).await;
}

#[tokio::test]
async fn look() {
    let line = Line::plain().await;
    let first = attempt();
    win(&line.store, &first).await;
    assert!(matches!(line.repeated(|| line.store.lookup(&first.key)).await, Lookup::Running { .. }));
}
