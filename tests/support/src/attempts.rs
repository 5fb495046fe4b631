//! Attempts for tests of a store, and one call of every method of a store.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    Store, StoreError,
    store::{Acquired, ClaimOutcome, ClaimRequest, Fingerprint, StoreKey, Token},
};

/// An attempt at a key that no other test uses.
pub fn attempt() -> ClaimRequest {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let key = format!("test:{}:{}", std::process::id(), MADE.fetch_add(1, Relaxed));
    ClaimRequest::new(StoreKey::new(key), Fingerprint::from_bytes([1; 32]))
}

/// Another attempt at the same request.
pub fn rival(attempt: &ClaimRequest) -> ClaimRequest {
    let mut rival = attempt.clone();
    rival.token = Token::fresh();
    rival
}

/// An attempt at another request with the same key.
pub fn intruder(attempt: &ClaimRequest) -> ClaimRequest {
    let mut intruder = rival(attempt);
    intruder.fingerprint = Fingerprint::from_bytes([2; 32]);
    intruder
}

/// Claims a key that must be free, and returns the fence.
pub async fn win(store: &impl Store, attempt: &ClaimRequest) -> u64 {
    match store.claim(attempt).await.expect("the store answers") {
        ClaimOutcome::Acquired(Acquired { fence, .. }) => fence,
        other => panic!("{other:?} instead of a claim"),
    }
}

/// Repeats a call until it succeeds, and returns how long that took.
pub async fn served_again<T>(call: impl AsyncFn() -> Result<T, StoreError>) -> Duration {
    let start = Instant::now();
    while let Err(error) = call().await {
        assert!(start.elapsed() < Duration::from_secs(30), "still {error:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

/// A key whose attempt died.
pub async fn dead(store: &impl Store) -> ClaimRequest {
    let attempt = attempt();
    win(store, &attempt).await;
    store.abandon(&attempt).await.expect("the store answers");
    attempt
}

/// A key whose request is finished with `record`.
pub async fn done(store: &impl Store) -> ClaimRequest {
    let attempt = attempt();
    let fence = win(store, &attempt).await;
    store.complete(&attempt, fence, "record".into()).await.expect("the store answers");
    attempt
}

/// Calls every method once, so that the server has every script.
pub async fn warm_up(store: &impl Store) {
    let first = dead(store).await;
    let second = rival(&first);
    let fence = win(store, &second).await;
    store.renew(&second, &Acquired::new(fence, false)).await.expect("the store answers");
    store.lookup(&second.key).await.expect("the store answers");
    store.release(&second).await.expect("the store answers");
    done(store).await;
}
