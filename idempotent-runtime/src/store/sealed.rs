//! [`SealedStore`]: encrypts records and steps before they reach a store, and decrypts its answers.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{
    Acquired, ClaimOutcome, ClaimRequest, Claims, CompleteOutcome, Fingerprint, ForgetOutcome, Lookup, ReleaseOutcome,
    RenewOutcome, SaveOutcome, StoreError, StoreKey,
    claims::DynStore,
    sealing::{EncryptionKeys, Purpose, SealError},
};
use crate::{error_chain::chain, telemetry::limited};

/// A store that gets only encrypted records and steps. Its answers are decrypted.
pub(super) struct SealedStore {
    pub(super) store: Box<dyn DynStore>,
    pub(super) keys: EncryptionKeys,
}

impl SealedStore {
    fn seal(&self, purpose: Purpose, attempt: &ClaimRequest, plain: &Bytes) -> Result<Bytes, StoreError> {
        // A claim without steps has nothing to encrypt.
        if plain.is_empty() {
            return Ok(Bytes::new());
        }
        let sealed = self.keys.seal(purpose, &attempt.key, &attempt.fingerprint, plain);
        sealed.map_err(|error| StoreError::Refused(error.into()))
    }

    /// `None` when the bytes cannot be decrypted. The record then counts as unreadable, and never as absent.
    fn open(&self, purpose: Purpose, key: &StoreKey, fingerprint: &Fingerprint, sealed: &Bytes) -> Option<Bytes> {
        if sealed.is_empty() && matches!(purpose, Purpose::Steps) {
            return Some(Bytes::new());
        }
        let opened = self.keys.open(purpose, key, fingerprint, sealed);
        opened.inspect_err(|error: &SealError| limited!(RECORD_SEALED, error = %chain(error))).ok()
    }
}

impl Claims for SealedStore {
    async fn claim(&self, attempt: &ClaimRequest) -> Result<ClaimOutcome, StoreError> {
        let open = |purpose, sealed: &Bytes| self.open(purpose, &attempt.key, &attempt.fingerprint, sealed);
        Ok(match self.store.claim(attempt).answer().await? {
            ClaimOutcome::Done(sealed) => {
                open(Purpose::Record, &sealed).map_or(ClaimOutcome::Unreadable, ClaimOutcome::Done)
            }
            ClaimOutcome::Acquired(held) => {
                if let Some(steps) = open(Purpose::Steps, &held.steps) {
                    ClaimOutcome::Acquired(Acquired { steps, ..held })
                } else {
                    // The handler does not run. The next attempt is told, as this one was, that an earlier attempt
                    // stopped without reporting a result.
                    self.store.abandon(attempt).answer().await?;
                    ClaimOutcome::Unreadable
                }
            }
            other => other,
        })
    }

    async fn renew(&self, attempt: &ClaimRequest, held: &Acquired) -> Result<RenewOutcome, StoreError> {
        if held.steps.is_empty() {
            return self.store.renew(attempt, held).answer().await;
        }
        let held = Acquired { steps: self.seal(Purpose::Steps, attempt, &held.steps)?, ..held.clone() };
        self.store.renew(attempt, &held).answer().await
    }

    async fn complete(&self, attempt: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        let sealed = self.seal(Purpose::Record, attempt, &record)?;
        self.store.complete(attempt, fence, sealed).answer().await
    }

    async fn replace(&self, attempt: &ClaimRequest, fence: u64, record: Bytes) -> Result<CompleteOutcome, StoreError> {
        let sealed = self.seal(Purpose::Record, attempt, &record)?;
        self.store.replace(attempt, fence, sealed).answer().await
    }

    async fn save_steps(&self, attempt: &ClaimRequest, fence: u64, steps: Bytes) -> Result<SaveOutcome, StoreError> {
        let sealed = self.seal(Purpose::Steps, attempt, &steps)?;
        self.store.save_steps(attempt, fence, sealed).answer().await
    }

    async fn release(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        self.store.release(attempt).answer().await
    }

    async fn abandon(&self, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
        self.store.abandon(attempt).answer().await
    }

    async fn lookup(&self, key: &StoreKey) -> Result<Lookup, StoreError> {
        Ok(match self.store.lookup(key).answer().await? {
            Lookup::Done { fingerprint, record } => match self.open(Purpose::Record, key, &fingerprint, &record) {
                Some(record) => Lookup::Done { fingerprint, record },
                None => Lookup::Unreadable,
            },
            other => other,
        })
    }

    async fn forget(&self, key: &StoreKey) -> Result<ForgetOutcome, StoreError> {
        self.store.forget(key).answer().await
    }

    async fn clock(&self) -> Result<SystemTime, StoreError> {
        self.store.now().answer().await
    }

    fn call_limit(&self) -> Option<Duration> {
        // A claim whose steps cannot be decrypted is given up by a second call.
        self.store.answers_within().map(|one| one.saturating_mul(2))
    }

    fn beside(&self) -> Option<Self> {
        Some(Self { store: self.store.for_heartbeats()?, keys: self.keys.clone() })
    }

    fn shared(&self) -> bool {
        self.store.is_shared()
    }
}
