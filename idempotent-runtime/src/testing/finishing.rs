//! Checks storing a response.

use super::case::{Case, Verdict, attempt, intruder, rival, same};
use crate::store::{ClaimOutcome, CompleteOutcome, Lookup, Store};

pub(super) async fn byte_for_byte<S: Store>(case: Case<S>) -> Verdict {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = every_byte.iter().copied().cycle().take(100_000).collect();
    for record in [Vec::new(), vec![0], b"\r\n$-1\r\n".to_vec(), every_byte, large] {
        let first = attempt();
        let fence = case.win(&first, false).await?;
        same("complete", &case.complete(&first, fence, &record).await?, &CompleteOutcome::Stored)?;
        let done = ClaimOutcome::Done(record.into());
        // Its own attempt as well: that is a claim which is repeated very late.
        for attempt in [rival(&first), first] {
            if case.claim(&attempt).await? != done {
                return Err("another record came back".to_owned());
            }
        }
    }
    Ok(())
}

pub(super) async fn twice<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let fence = case.win(&first, false).await?;
    same("complete", &case.complete(&first, fence, b"first").await?, &CompleteOutcome::Stored)?;
    same("complete again", &case.complete(&first, fence, b"second").await?, &CompleteOutcome::AlreadyStored)?;
    same("the record", &case.claim(&rival(&first)).await?, &ClaimOutcome::Done(b"first".as_slice().into()))
}

pub(super) async fn absent<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    same("complete", &case.complete(&first, 7, b"record").await?, &CompleteOutcome::Stored)?;
    same("the record", &case.claim(&rival(&first)).await?, &ClaimOutcome::Done(b"record".as_slice().into()))?;
    same("another request", &case.claim(&intruder(&first)).await?, &ClaimOutcome::OtherRequest)?;
    same("complete again", &case.complete(&first, 7, b"record").await?, &CompleteOutcome::AlreadyStored)
}

pub(super) async fn foreign<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let fence = case.win(&first, false).await?;
    for other in [rival(&first), intruder(&first)] {
        same("while it runs", &case.complete(&other, fence, b"foreign").await?, &CompleteOutcome::Lost)?;
        case.stands(&first, fence, false).await?;
    }
    same("complete", &case.complete(&first, fence, b"record").await?, &CompleteOutcome::Stored)?;
    same("when it is finished", &case.complete(&rival(&first), fence + 1, b"foreign").await?, &CompleteOutcome::Lost)?;
    let kept = Lookup::Done { fingerprint: first.fingerprint, record: b"record".as_slice().into() };
    same("the record", &case.look(&first).await?, &kept)
}

pub(super) async fn late<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let before = case.win(&first, false).await?;
    case.die(&first).await?;
    let second = rival(&first);
    let fence = case.win(&second, true).await?;
    same("while the second runs", &case.complete(&first, before, b"late").await?, &CompleteOutcome::Lost)?;
    case.stands(&second, fence, true).await?;
    same("the second", &case.complete(&second, fence, b"record").await?, &CompleteOutcome::Stored)?;
    same("when it is finished", &case.complete(&first, before, b"late").await?, &CompleteOutcome::Lost)?;
    same("the record", &case.claim(&first).await?, &ClaimOutcome::Done(b"record".as_slice().into()))
}

pub(super) async fn replaced<S: Store>(case: Case<S>) -> Verdict {
    let first = attempt();
    let Some(absent) = case.replace(&first, 7, b"whole").await? else { return Ok(()) };
    same("when the key is absent", &absent, &CompleteOutcome::Lost)?;
    let fence = case.win(&first, false).await?;
    same("while it runs", &case.replace(&first, fence, b"whole").await?, &Some(CompleteOutcome::Lost))?;
    case.stands(&first, fence, false).await?;
    same("complete", &case.complete(&first, fence, b"short").await?, &CompleteOutcome::Stored)?;
    let foreign = case.replace(&rival(&first), fence + 1, b"foreign").await?;
    same("by another token", &foreign, &Some(CompleteOutcome::Lost))?;
    same("the record", &case.claim(&rival(&first)).await?, &ClaimOutcome::Done(b"short".as_slice().into()))?;
    // Twice: the answer to the first may have been lost.
    for _ in 0..2 {
        same("replace", &case.replace(&first, fence, b"whole").await?, &Some(CompleteOutcome::Stored))?;
    }
    same("the record", &case.claim(&rival(&first)).await?, &ClaimOutcome::Done(b"whole".as_slice().into()))?;
    same("another request", &case.claim(&intruder(&first)).await?, &ClaimOutcome::OtherRequest)
}
