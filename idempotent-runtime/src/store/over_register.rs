//! Every register is a [`Store`]: the rules of the protocol are applied to it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{
    Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, ForgetOutcome, Lookup, Register, ReleaseOutcome,
    RenewOutcome, SaveOutcome, Store, StoreError, StoreKey, run::run,
};
use crate::protocol::{Claim, Complete, End, Forget, Keep, Look, Replace};

impl<S: Register> Store for S {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimOutcome, StoreError> {
        run(self, Claim::new(request)).await
    }

    async fn renew(&self, request: &ClaimRequest, held: &Acquired) -> Result<RenewOutcome, StoreError> {
        Ok(run(self, Keep::renew(request, held.clone())).await?.into())
    }

    async fn complete(&self, request: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        run(self, Complete::new(request, fence, record)).await
    }

    async fn replace(&self, request: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        run(self, Replace::new(request, fence, record)).await
    }

    async fn save_steps(&self, request: &ClaimRequest, fence: u64, steps: Bytes) -> Result<SaveOutcome, StoreError> {
        Ok(run(self, Keep::save(request, fence, steps)).await?.into())
    }

    async fn release(&self, request: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        run(self, End::release(request)).await
    }

    async fn abandon(&self, request: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        run(self, End::abandon(request)).await
    }

    async fn lookup(&self, key: &StoreKey) -> Result<Lookup, StoreError> {
        run(self, Look(key)).await
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        Register::now(self).await
    }

    async fn forget(&self, key: &StoreKey) -> Result<ForgetOutcome, StoreError> {
        run(self, Forget::new(key)).await
    }

    fn answers_within(&self) -> Option<Duration> {
        Register::answers_within(self)
    }

    fn for_heartbeats(&self) -> Option<Self> {
        Register::for_heartbeats(self)
    }

    fn is_shared(&self) -> bool {
        Register::is_shared(self)
    }
}
