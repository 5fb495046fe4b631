//! What a handler may know of its claim.

#[cfg(feature = "_sql")]
mod commit;
mod step;
#[cfg(feature = "_sql")]
mod writing;

pub use self::step::StepError;

use std::{convert::Infallible, fmt, future::pending, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use uuid::Uuid;

use crate::{
    engine::{ActiveAttempt, ClaimCell},
    request::identity,
    store::Acquired,
};

/// The claim under which a handler runs: an ordinary extractor, at any position.
///
/// It is filled when the handler starts. In an extractor that runs before, in a handler without the attribute, and taken
/// by hand out of a `Request` inside the handler, it says [`protected() == false`](Self::protected).
///
/// ```
/// use axum::Json;
/// use idempotent_runtime::{Claim, idempotent};
/// # struct Provider;
/// # impl Provider { async fn find(&self, _: uuid::Uuid) -> Option<String> { None } async fn charge(&self, _: uuid::Uuid) -> String { String::new() } }
/// # static PROVIDER: Provider = Provider;
///
/// #[idempotent(ttl = "24h")]
/// async fn charge(claim: Claim) -> Json<String> {
///     let key = claim.derive_key("provider");
///     if claim.recovering() {
///         // An earlier attempt died: it may have charged already.
///         if let Some(charge) = PROVIDER.find(key).await {
///             return Json(charge);
///         }
///     }
///     Json(PROVIDER.charge(key).await)
/// }
/// ```
#[derive(Clone)]
pub struct Claim {
    cell: Arc<ClaimCell>,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("fence", &self.fence()).field("recovering", &self.recovering()).finish()
    }
}

impl Claim {
    /// The attempt that runs; `None` when there is nothing to protect.
    fn attempt(&self) -> Option<&Arc<ActiveAttempt>> {
        self.cell.attempt()
    }

    /// What came with the claim; `None` as well in an outage that runs unprotected.
    fn held(&self) -> Option<&Acquired> {
        self.attempt()?.held.as_ref()
    }

    /// The client's key without quotes; `None` if it sent none or the method is safe. Do not log it: who knows it may
    /// be shown the response.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.attempt().map(|attempt| attempt.key.as_str())
    }

    /// A number that grows with every attempt at the key; 0 when [`protected`](Self::protected) is false.
    ///
    /// While the store knows the key, a fence is larger than the one before. After an answer that freed the key, or a loss
    /// of data, it grows with the store's clock, which a process knows to within a second.
    ///
    /// A resource that remembers the largest fence it has seen, and refuses smaller ones, is safe from an attempt that
    /// was taken for dead and wakes up.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.held().map_or(0, |held| held.fence)
    }

    /// Whether an earlier attempt at this key died, so that its effects are unknown and may be there.
    #[must_use]
    pub fn recovering(&self) -> bool {
        self.held().is_some_and(|held| held.recovering)
    }

    /// Whether the handler runs under a claim: false without a key, on a safe method, and in an outage that runs
    /// unprotected.
    #[must_use]
    pub fn protected(&self) -> bool {
        self.held().is_some()
    }

    /// A key for a service downstream: a UUID that is the same for every attempt at this key, and another one for each
    /// `purpose`. Without a key from the client it is the same within this request only.
    ///
    /// It is made of the key's name in the store. Without the attribute's `scope`, two callers who choose the same key
    /// derive the same: set `scope` where keys are not random.
    #[must_use]
    pub fn derive_key(&self, purpose: &str) -> Uuid {
        match self.attempt() {
            Some(active) => identity::derive(active.attempt.key.as_str().as_bytes(), purpose),
            None => identity::derive(self.cell.nonce().as_bytes(), purpose),
        }
    }

    /// Resolves when the claim may have been lost: another attempt has the key, the lease is about to end and no heartbeat
    /// reached the store, or the attempt lasts longer than [`max_attempt`](crate::IdempotencyBuilder::max_attempt). Never
    /// resolves for an unprotected run.
    ///
    /// It resolves a tenth of the lease before the lease is over, at most a second, so that the handler can stop before
    /// another attempt runs.
    ///
    /// The handler goes on; its response is sent, and stored only if nobody else took the key. Race this against work
    /// that must not be done twice.
    pub async fn lost(&self) {
        match self.attempt().filter(|active| active.held.is_some()) {
            Some(active) => active.lost().await,
            None => pending().await,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Claim {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self { cell: ClaimCell::of(&mut parts.extensions) })
    }
}
