//! Keeping a lease alive while its attempt runs.

use std::{convert::Infallible, future::pending, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::Engine,
    engine::deadline,
    error_chain::chain,
    store::{Acquired, Attempt, RenewOutcome},
    telemetry,
};

/// Renews the lease at a third of it, until it is dropped. Never returns; `lost` is cancelled when the claim is no
/// longer surely this attempt's.
///
/// A renewal that failed is tried again after a tenth of the lease, also past the lease: a store that comes back before
/// anybody else claimed still has this attempt's claim.
///
/// `claimed` is the moment before the claim was asked for: the lease may have begun then.
pub(crate) async fn keep(
    engine: &Engine,
    attempt: &Attempt,
    held: &Acquired,
    claimed: Instant,
    lost: &CancellationToken,
) -> Infallible {
    let mut renewed = claimed;
    let mut pause = (attempt.lease / 3).saturating_sub(claimed.elapsed());
    loop {
        let left = engine.settings.max_attempt.saturating_sub(claimed.elapsed());
        sleep(pause.min(left)).await;
        if left <= pause {
            return give_up(lost, "the attempt lasts longer than max_attempt").await;
        }
        let asked = Instant::now();
        match deadline::once(limit(engine, attempt), engine.store.renew(attempt, held)).await {
            Ok(RenewOutcome::Renewed | RenewOutcome::Recreated) => {
                renewed = asked;
                pause = attempt.lease / 3;
            }
            Ok(RenewOutcome::Completed) => return pending().await,
            Ok(RenewOutcome::Lost) => return give_up(lost, "another attempt has taken the key over").await,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a heartbeat did not reach the store");
                pause = attempt.lease / 10;
                if renewed.elapsed() >= attempt.lease && !lost.is_cancelled() {
                    telemetry::lost("the lease passed without a heartbeat");
                    lost.cancel();
                }
            }
        }
    }
}

/// A renewal must not outlast what it renews.
fn limit(engine: &Engine, attempt: &Attempt) -> Duration {
    engine.settings.store_timeout.min(attempt.lease / 3)
}

async fn give_up(lost: &CancellationToken, reason: &'static str) -> Infallible {
    if !lost.is_cancelled() {
        telemetry::lost(reason);
    }
    lost.cancel();
    pending().await
}
