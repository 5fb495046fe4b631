//! Keys that say when they were made: whether the key is too old or too new, by the store's clock.

use std::time::{Duration, SystemTime};

use super::{
    Engine,
    outcome::{Decision, Refused},
};
use crate::store::{
    ClaimRequest, Claims as _, Lookup, StoreError,
    deadline::{self, RetryUntil},
};

/// How far the time stamp of a key may be ahead of the store's clock. Records of such keys live longer by the same
/// time.
pub(super) const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// What happens to a request whose key is too old or too new. `None` if the key may be claimed. An error comes with whether
/// the key is known to be too old.
pub(super) async fn judge(
    engine: &Engine,
    claim: &ClaimRequest,
    made: Duration,
) -> Result<Option<Decision>, (StoreError, bool)> {
    let limit = engine.settings.store_timeout;
    let now = match deadline::repeated(limit, limit, RetryUntil::ClientGivesUp, || engine.store.now()).await {
        Ok(now) => now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        Err(error) => {
            // The process's clock may be wrong, so it refuses no key. But a key that is too old by it does not run without
            // a claim.
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            return Err((error, age(now, made, claim.ttl) == Age::Expired));
        }
    };
    match age(now, made, claim.ttl) {
        Age::Fresh => Ok(None),
        Age::FromTheFuture => Ok(Some(Decision::Refuse(Refused::FromTheFuture))),
        Age::Expired => find_expired(engine, claim).await.map(Some).map_err(|error| (error, true)),
    }
}

/// The age of a key that says when it was made, by the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// The key may be claimed.
    Fresh,
    /// The key is older than the ttl. Its record may be gone, so it cannot be known whether the request ran.
    Expired,
    /// The key is further ahead of the store's clock than clocks normally differ.
    FromTheFuture,
}

/// `ttl`: that of the claim, which includes the tolerance.
fn age(now: Duration, made: Duration, ttl: Duration) -> Age {
    if made > now.saturating_add(CLOCK_TOLERANCE) {
        Age::FromTheFuture
    } else if now > made.saturating_add(ttl.saturating_sub(CLOCK_TOLERANCE)) {
        Age::Expired
    } else {
        Age::Fresh
    }
}

/// Looks up the record of a key that is too old to be claimed. If there is one, it is the answer.
async fn find_expired(engine: &Engine, claim: &ClaimRequest) -> Result<Decision, StoreError> {
    let lookup = || engine.store.lookup(&claim.key);
    let limit = engine.settings.store_timeout;
    let found = deadline::repeated(limit, limit, RetryUntil::ClientGivesUp, lookup).await?;
    Ok(Decision::Refuse(match found {
        Lookup::Absent => Refused::Expired,
        Lookup::Unreadable => Refused::Unreadable,
        Lookup::Done { fingerprint, .. } | Lookup::Running { fingerprint, .. } if fingerprint != claim.fingerprint => {
            Refused::OtherRequest
        }
        Lookup::Done { record, .. } => return Ok(Decision::Replay(record)),
        Lookup::Running { left, .. } if left.is_zero() => Refused::Died,
        Lookup::Running { left, .. } => Refused::Running { left },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dated_key_is_judged_by_the_clock_it_is_given() {
        let (made, ttl, second) =
            (Duration::from_secs(1_700_000_000), Duration::from_secs(3_600), Duration::from_secs(1));
        let age = |now: Duration| age(now, made, ttl + CLOCK_TOLERANCE);
        assert_eq!(age(made), Age::Fresh);
        assert_eq!(age(made + ttl), Age::Fresh);
        assert_eq!(age(made + ttl + second), Age::Expired);
        assert_eq!(age(made.checked_sub(CLOCK_TOLERANCE).unwrap()), Age::Fresh);
        assert_eq!(age(made.checked_sub(CLOCK_TOLERANCE + second).unwrap()), Age::FromTheFuture);
    }
}
