//! A store whose errors end the check, and attempts at keys that no other check uses.

use std::{fmt::Debug, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    protocol::Operation,
    store::{
        Acquired, BoxFuture, ClaimOutcome, ClaimRequest, Claims, CompleteOutcome, Fingerprint, Lookup, ReleaseOutcome,
        Store, StoreError, StoreKey, Token,
    },
    telemetry::StoreOperation,
};

/// The result of a check: `Err` says what the store did instead of keeping its promise.
pub(super) type Verdict = Result<(), String>;

/// Longer than any check takes, so that no lease ends by chance on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// Short enough to wait for.
pub(super) const SHORT: Duration = Duration::from_millis(400);

/// How long to wait for something that is due. Much longer than necessary, because the machine may be busy.
const AT_LAST: Duration = Duration::from_secs(20);

/// Clocks count whole milliseconds, and two clocks are involved.
const TICK: Duration = Duration::from_millis(5);

pub(super) struct Case<S> {
    pub(super) store: Arc<S>,
}

impl<S: Store> Case<S> {
    pub(super) fn new(store: &Arc<S>) -> Self {
        Self { store: Arc::clone(store) }
    }

    /// Claims a key that must be free.
    pub(super) async fn win(&self, attempt: &ClaimRequest, recovering: bool) -> Result<u64, String> {
        match self.claim(attempt).await? {
            ClaimOutcome::Acquired(held) if held.recovering == recovering => Ok(held.fence),
            other => Err(format!("claim answered {other:?} instead of Acquired with recovering: {recovering}")),
        }
    }

    /// A first attempt that has its key, and its fence.
    pub(super) async fn begun(&self) -> Result<(ClaimRequest, u64), String> {
        let first = attempt();
        let fence = self.win(&first, false).await?;
        Ok((first, fence))
    }

    /// The next attempt after one that dies now, and its fence.
    pub(super) async fn taken_over(&self, first: &ClaimRequest) -> Result<(ClaimRequest, u64), String> {
        self.die(first).await?;
        let second = rival(first);
        let fence = self.win(&second, true).await?;
        Ok((second, fence))
    }

    /// Checks that an attempt finds another one running.
    pub(super) async fn meets_running(&self, attempt: &ClaimRequest, when: &str) -> Verdict {
        match self.claim(attempt).await? {
            ClaimOutcome::Running { .. } => Ok(()),
            other => Err(format!("{other:?} {when}")),
        }
    }

    /// The fence of a takeover. `None` while the lease of [`SHORT`] lasts.
    pub(super) async fn try_to_take_over(&self, attempt: &ClaimRequest) -> Result<Option<u64>, String> {
        match self.claim(attempt).await? {
            ClaimOutcome::Acquired(Acquired { fence, recovering: true, .. }) => Ok(Some(fence)),
            ClaimOutcome::Running { left } if left <= SHORT => Ok(None),
            other => Err(format!("{other:?} after a lease of {SHORT:?}")),
        }
    }

    /// Completes a claim that is running.
    pub(super) async fn finish(&self, attempt: &ClaimRequest, fence: u64) -> Verdict {
        same("complete", &self.complete(attempt, fence, "record".into()).await?, &CompleteOutcome::Stored)
    }

    /// Checks that another attempt at the same request gets this record.
    pub(super) async fn replays(&self, attempt: &ClaimRequest, record: &'static [u8]) -> Verdict {
        same("the record", &self.claim(&rival(attempt)).await?, &ClaimOutcome::Done(record.into()))
    }

    /// Checks that the attempt's claim has not changed: it is still running, and still this attempt's.
    pub(super) async fn stands(&self, attempt: &ClaimRequest, fence: u64, recovering: bool) -> Verdict {
        same(
            "the claim that stood",
            &self.claim(attempt).await?,
            &ClaimOutcome::Acquired(Acquired::new(fence, recovering)),
        )?;
        match self.lookup(&attempt.key).await? {
            Lookup::Running { left, .. } if !left.is_zero() => Ok(()),
            other => Err(format!("the claim that stood is now {other:?}")),
        }
    }

    /// Gives up the claim of an attempt, so that the key is as after its death.
    pub(super) async fn die(&self, attempt: &ClaimRequest) -> Verdict {
        same("abandon", &self.abandon(attempt).await?, &ReleaseOutcome::Ended)
    }
}

/// Every operation, whose error ends the check.
impl<S: Store> Claims for Case<S> {
    type Call<'a, T: Send + 'a> = BoxFuture<'a, Result<T, String>>;

    fn carry_out<'a, O, T>(&'a self, kind: StoreOperation, operation: O) -> Self::Call<'a, T>
    where
        O: Operation + 'a,
        O::Outcome: Into<T>,
        T: Send + 'a,
    {
        Box::pin(async move { self.store.carry_out(kind, operation).await.map_err(failed(kind.label())) })
    }
}

pub(super) fn failed(call: &'static str) -> impl FnOnce(StoreError) -> String {
    move |error| format!("{call} failed: {error}")
}

/// An attempt at a new key, with a lease and a ttl that do not end during the check.
pub(super) fn attempt() -> ClaimRequest {
    let mut attempt =
        ClaimRequest::new(StoreKey::new(format!("conformance:{}", Uuid::new_v4())), Fingerprint::from_bytes([1; 32]));
    (attempt.lease, attempt.ttl) = (LONG, LONG);
    attempt
}

/// Another attempt at the same request.
pub(super) fn rival(attempt: &ClaimRequest) -> ClaimRequest {
    ClaimRequest { token: Token::fresh(), ..attempt.clone() }
}

/// An attempt at another request with the same key.
pub(super) fn intruder(attempt: &ClaimRequest) -> ClaimRequest {
    ClaimRequest { fingerprint: Fingerprint::from_bytes([2; 32]), ..rival(attempt) }
}

pub(super) fn same<T: PartialEq + Debug>(what: &str, seen: &T, promised: &T) -> Verdict {
    if seen == promised { Ok(()) } else { Err(format!("{what}: {seen:?} instead of {promised:?}")) }
}

pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Waits for an event that must come, but not earlier than `due` after `start`. `start` is before the call that causes
/// it.
///
/// `look` returns `Some` when it has come. The latest moment is only a bound that no store needs, because a busy
/// machine may be late.
pub(super) async fn comes<T, F>(
    what: &str,
    start: Instant,
    due: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T, String>
where
    F: Future<Output = Result<Option<T>, String>>,
{
    loop {
        let seen = look().await?;
        let elapsed = start.elapsed();
        match seen {
            Some(_) if elapsed + TICK < due => {
                return Err(format!("{what} came {:?} too early", due.saturating_sub(elapsed)));
            }
            Some(seen) => return Ok(seen),
            None if elapsed > due + AT_LAST => return Err(format!("{what} never came")),
            None => sleep(Duration::from_millis(20)).await,
        }
    }
}
