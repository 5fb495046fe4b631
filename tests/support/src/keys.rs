//! One key in each state, claimed before a store refused to write, and the answers that it then gives.

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    Store, StoreError,
    store::{Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, Lookup},
};

use crate::attempts::{attempt, dead, done, intruder, rival, win};

/// A key of a request that is finished, of one that runs, and of one whose attempt died.
pub struct Keys {
    /// Finished with `record`.
    pub done: ClaimRequest,
    /// The request is running.
    pub running: ClaimRequest,
    /// The fence of the attempt that runs.
    pub fence: u64,
    /// The attempt died.
    pub dead: ClaimRequest,
}

impl Keys {
    /// Makes the keys.
    pub async fn on(store: &impl Store) -> Self {
        let running = attempt();
        let fence = win(store, &running).await;
        Self { done: done(store).await, running, fence, dead: dead(store).await }
    }

    /// Checks that known keys are still answered.
    pub async fn are_answered(&self, store: &impl Store) {
        let claim = async |attempt: &ClaimRequest| store.claim(attempt).await.expect("answers");
        assert_eq!(claim(&rival(&self.done)).await, ClaimOutcome::Done("record".into()));
        assert_eq!(claim(&intruder(&self.done)).await, ClaimOutcome::OtherRequest);
        assert_eq!(claim(&intruder(&self.running)).await, ClaimOutcome::OtherRequest);
        assert_eq!(claim(&intruder(&self.dead)).await, ClaimOutcome::OtherRequest);
        let met = claim(&rival(&self.running)).await;
        assert!(
            matches!(met, ClaimOutcome::Running { left } if !left.is_zero() && left <= self.running.lease),
            "{met:?}"
        );
        assert!(matches!(store.lookup(&self.running.key).await, Ok(Lookup::Running { .. })));
    }

    /// Checks that every write for the running attempt is refused.
    pub async fn are_not_written(&self, store: &impl Store) {
        let Self { running, fence, .. } = self;
        assert!(matches!(store.complete(running, *fence, "record".into()).await, Err(StoreError::Refused(_))));
        assert!(matches!(store.renew(running, &Acquired::new(*fence, false)).await, Err(StoreError::Refused(_))));
        assert!(matches!(store.release(running).await, Err(StoreError::Refused(_))));
        assert!(matches!(store.abandon(running).await, Err(StoreError::Refused(_))));
    }

    /// Checks that the refused calls succeed when the store can write again.
    pub async fn go_on(&self, store: &impl Store) {
        win(store, &attempt()).await;
        let completed = store.complete(&self.running, self.fence, "record".into()).await.expect("answers");
        assert_eq!(completed, CompleteOutcome::Stored);
        let taken = store.claim(&rival(&self.dead)).await.expect("answers");
        assert!(matches!(taken, ClaimOutcome::Acquired(Acquired { recovering: true, .. })), "{taken:?}");
    }
}
