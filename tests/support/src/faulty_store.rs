//! Stores that break one promise each, to check that the conformance suite reports it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use idempotent_runtime::{
    MemoryStore, Store, StoreError, Takeover,
    store::{
        Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, Fingerprint, Lookup, ReleaseOutcome, RenewOutcome,
        StoreKey, Token,
    },
};

/// The promise that a [`Faulty`] store breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A claim reads first and writes in a second step.
    ReadThenWrite,
    /// Every call of `claim` gets a new token, also a repeated one.
    TokenOfTheRetryIsNew,
    /// A claim succeeds for any request with the key, whatever its fingerprint is.
    FingerprintIgnored,
    /// Complete, renew, release and abandon compare the key only.
    EndsByKeyAlone,
    /// A lease ends as soon as the claim is made.
    LeaseOfNoLength,
    /// A takeover is told that it is the first attempt.
    RecoveringForgotten,
    /// `Takeover::Refuse` runs the handler again.
    RefusalIgnored,
    /// Every attempt has the same fence.
    FenceStandsStill,
    /// A finished record's time to live starts at its claim.
    TtlFromTheClaim,
    /// A claim is removed when its lease ends.
    DeadForgottenWithTheLease,
    /// Renewals are acknowledged but do nothing.
    RenewalDoesNothing,
    /// Records are converted to UTF-8 text.
    RecordAsText,
    /// A lookup makes a claim.
    LookClaims,
}

/// A store in memory with a fault.
pub struct Faulty {
    fault: Fault,
    inner: MemoryStore,
    /// The token that holds each key, and since when.
    holders: Mutex<HashMap<StoreKey, (Token, tokio::time::Instant)>>,
}

impl Faulty {
    /// An empty store with this fault.
    pub fn new(fault: Fault) -> Self {
        Self { fault, inner: MemoryStore::new(), holders: Mutex::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn holder(&self, key: &StoreKey) -> Option<(Token, tokio::time::Instant)> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// The attempt, changed as the fault requires.
    fn seen(&self, attempt: &ClaimRequest, ends: bool) -> ClaimRequest {
        let mut seen = attempt.clone();
        match self.fault {
            Fault::EndsByKeyAlone if ends => {
                seen.token = self.holder(&attempt.key).map_or(seen.token, |(token, _)| token);
            }
            Fault::TokenOfTheRetryIsNew if !ends => seen.token = Token::fresh(),
            Fault::FingerprintIgnored => seen.fingerprint = Fingerprint::from_bytes([0; 32]),
            Fault::LeaseOfNoLength => seen.lease = Duration::ZERO,
            Fault::RefusalIgnored => seen.takeover = Takeover::Rerun,
            Fault::DeadForgottenWithTheLease if !ends => seen.ttl = Duration::ZERO,
            Fault::TtlFromTheClaim if ends => {
                let since = self.holder(&attempt.key).map_or(Duration::ZERO, |(_, since)| since.elapsed());
                seen.ttl = seen.ttl.saturating_sub(since);
            }
            _ => {}
        }
        seen
    }
}

impl Store for Faulty {
    async fn claim(&self, attempt: &ClaimRequest) -> Result<ClaimOutcome, StoreError> {
        let seen = self.seen(attempt, false);
        if self.has(Fault::ReadThenWrite) && self.inner.lookup(&seen.key).await? == Lookup::Absent {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let _ = self.inner.claim(&seen).await?;
            return Ok(ClaimOutcome::Acquired(Acquired::new(1, false)));
        }
        let mut answer = self.inner.claim(&seen).await?;
        if let ClaimOutcome::Acquired(Acquired { fence, recovering, .. }) = &mut answer {
            let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
            holders.insert(seen.key.clone(), (seen.token, tokio::time::Instant::now()));
            *recovering &= !self.has(Fault::RecoveringForgotten);
            *fence = if self.has(Fault::FenceStandsStill) { 1 } else { *fence };
        }
        Ok(answer)
    }

    async fn renew(&self, attempt: &ClaimRequest, held: &Acquired) -> Result<RenewOutcome, StoreError> {
        if self.has(Fault::RenewalDoesNothing) {
            return Ok(RenewOutcome::Renewed);
        }
        self.inner.renew(&self.seen(attempt, true), held).await
    }

    async fn complete(&self, attempt: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        let text = self.has(Fault::RecordAsText).then(|| String::from_utf8_lossy(&record).into_owned().into());
        self.inner.complete(&self.seen(attempt, true), fence, text.unwrap_or(record)).await
    }

    async fn release(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        self.inner.release(&self.seen(attempt, true)).await
    }

    async fn abandon(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        self.inner.abandon(&self.seen(attempt, true)).await
    }

    async fn lookup(&self, key: &StoreKey) -> Result<Lookup, StoreError> {
        if self.has(Fault::LookClaims) {
            let _ = self.inner.claim(&ClaimRequest::new(key.clone(), Fingerprint::from_bytes([0; 32]))).await?;
        }
        self.inner.lookup(key).await
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        self.inner.now().await
    }
}
