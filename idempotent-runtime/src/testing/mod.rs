//! For tests: [`TestStore`], with which a service tests outages and dead attempts, and the conformance suite, which tests
//! whether a store keeps the promises of [`Store`].
//!
//! Use the suite in the tests of a store of your own; our stores are tested by it too. It uses a few hundred new keys, and
//! takes a few seconds because it waits for leases to end.
//!
//! ```
//! # use idempotent_runtime::MemoryStore;
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! idempotent_runtime::testing::conformance(MemoryStore::new()).await;
//! # }
//! ```

mod case;
mod claiming;
mod dropping;
mod ending;
mod faults;
mod looking;
mod renewing;
mod swaps;

use std::{fmt, sync::Arc};

use tokio::task::JoinSet;

use self::case::Case;
pub use self::faults::TestStore;
use crate::{
    idempotency::IdempotencyBuilder,
    store::{Store, StoreHandle},
};
#[doc(hidden)]
pub use crate::{
    protocol::{Claim, Complete, End, Keep, Kept, Operation, Step},
    store::{BoxFuture, BoxedStore, Claims, Faults},
    telemetry::StoreOperation,
};

/// A promise of [`Store`] that a store has broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokenPromise {
    /// The promise.
    pub promise: &'static str,
    /// What the store did instead.
    pub seen: String,
}

impl fmt::Display for BrokenPromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.seen)
    }
}

/// A builder over a store with faults in front of it, for tests that make single operations fail.
#[doc(hidden)]
pub fn builder(store: impl Store, faults: impl Faults) -> IdempotencyBuilder {
    IdempotencyBuilder::over(StoreHandle::failing(store, faults), None)
}

/// Runs every check on a store.
///
/// # Panics
/// If the store breaks a promise. The message names each one.
pub async fn conformance<S: Store>(store: S) {
    let broken = broken_promises(store).await;
    let list: Vec<String> = broken.iter().map(BrokenPromise::to_string).collect();
    assert!(broken.is_empty(), "the store breaks {} of its promises:\n- {}", broken.len(), list.join("\n- "));
}

/// Runs every check on a store, and returns the promises that it broke.
///
/// The checks run at the same time, each with its own keys. A check that panics counts as broken.
pub async fn broken_promises<S: Store>(store: S) -> Vec<BrokenPromise> {
    let store = Arc::new(store);
    let mut checks = JoinSet::new();
    macro_rules! promise {
        ($($promise:literal => $check:path,)*) => {$({
            let check = tokio::spawn($check(Case::new(&store)));
            checks.spawn(async move {
                let seen = check.await.unwrap_or_else(|panic| Err(panic.to_string())).err()?;
                Some(BrokenPromise { promise: $promise, seen })
            });
        })*};
    }
    promise! {
        "of 100 concurrent attempts exactly one gets the key" => claiming::one_of_many,
        "a claim repeated with the same token is the same claim" => claiming::same_token,
        "another request never gets the key, and none of its record" => claiming::other_request,
        "an attempt that meets a running one is told what is left of its lease" => claiming::what_is_left,
        "keys are told apart by every byte" => claiming::different_keys,
        "a fence is larger than every earlier one of its key" => claiming::growing_fence,
        "a key is taken over when its lease is over, and not before" => claiming::after_the_lease,
        "of 50 concurrent takeovers exactly one gets the key" => claiming::one_takeover_of_many,
        "a takeover repeated with the same token is the same claim, and still recovering" => claiming::same_takeover,
        "a dead attempt is not taken over by one that refuses to" => claiming::refused,
        "a renewed lease starts anew, and is not taken over" => renewing::keeps_the_claim,
        "a renewed takeover is still recovering" => renewing::keeps_recovering,
        "renewing a lost claim creates it again with its fence" => renewing::creates_a_claim,
        "renewing a lost takeover creates it again as recovering" => renewing::creates_a_takeover,
        "renewing a finished claim says that it is finished" => renewing::when_finished,
        "a renewal by another token changes nothing" => renewing::by_another,
        "a finished record is given back byte for byte" => ending::byte_for_byte,
        "completing twice keeps the first record" => ending::completed_twice,
        "an attempt can replace its own finished record, and nobody else's" => ending::replaced,
        "completing an absent key stores the record" => ending::completed_absent,
        "a completion by another token changes nothing" => ending::completed_by_another,
        "a completion after a takeover is lost" => ending::completed_late,
        "a released key is free, as if it had never been claimed" => ending::released,
        "a takeover that is released is still known to follow a dead attempt" => ending::released_takeover,
        "an abandoned lease is over at once, and the attempt is known to have died" => ending::abandoned,
        "a claim ended by another token goes on" => ending::ended_by_another,
        "a finished record outlasts release and abandon" => ending::ended_when_finished,
        "ending an absent claim leaves the key absent" => ending::ended_absent,
        "a finished record lives for its ttl, counted from completion" => looking::finished_expires,
        "a dead attempt is known for its ttl after the lease" => looking::dead_expires,
        "saved steps come with the claim, and the last ones count" => renewing::saved_steps,
        "the next attempt gets the steps of one that died or gave up" => renewing::inherited_steps,
        "steps saved by another token, or after the end, change nothing" => renewing::steps_by_another,
        "a lost claim is created again with its steps" => renewing::creates_with_steps,
        "saving steps starts no lease, and a renewal keeps them" => renewing::steps_start_no_lease,
        "a finished request has no steps" => renewing::steps_when_finished,
        "a look shows each state and changes none" => looking::each_state,
        "the store's clock runs" => looking::clock,
        "every swap is compared, numbered and timed" => swaps::each_over_each,
        "a dropped claim had its effect or none" => dropping::claim,
        "a dropped completion had its effect or none" => dropping::completion,
        "dropped steps were saved or not" => dropping::steps,
        "a dropped renewal, release or abandon had its effect or none" => dropping::others,
    }
    checks.join_all().await.into_iter().flatten().collect()
}
