//! [`Claim`]: what a handler can learn about its claim.

#[cfg(feature = "_sql")]
mod commit;
#[cfg(feature = "_sql")]
mod committed;
mod step;
#[cfg(feature = "_sql")]
mod step_in;
#[cfg(feature = "_sql")]
mod step_saving;
#[cfg(feature = "_sql")]
mod transaction;
#[cfg(feature = "_sql")]
mod writing;

use std::{convert::Infallible, fmt, future::pending, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use uuid::Uuid;

#[cfg(feature = "_sql")]
pub use self::committed::{CommitEntry, CommitError, Committed};
pub use self::step::StepError;

use crate::{
    engine::{ActiveAttempt, ClaimCell},
    http::{captured::cell::cell_of, request::identity},
    store::Acquired,
};

/// The claim under which a handler runs. It is an extractor and may be any of the handler's arguments.
///
/// It is filled when the handler starts. Before that, in other extractors, [`protected`](Self::protected) is false. It
/// is also false in a handler without the attribute, and for a `Claim` that a handler extracts from a `Request` itself.
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
    pub(crate) fn new(cell: Arc<ClaimCell>) -> Self {
        Self { cell }
    }

    /// The running attempt. `None` when there is nothing to protect.
    fn attempt(&self) -> Option<&Arc<ActiveAttempt>> {
        self.cell.attempt()
    }

    /// What the store returned with the claim. `None` when there is nothing to protect, and when the handler runs
    /// without a claim during an outage.
    fn acquired(&self) -> Option<&Acquired> {
        self.attempt()?.acquired.as_ref()
    }

    /// The client's key without quotes. `None` if the client sent none or the method is safe.
    ///
    /// Do not log it: whoever knows the key may be able to get the response.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.attempt().map(|attempt| &*attempt.key)
    }

    /// The fencing token: a number that grows with every attempt at the key. It is 0 when
    /// [`protected`](Self::protected) is false.
    ///
    /// While the store knows the key, each attempt gets a larger number than the one before. After the key was freed,
    /// or after a loss of data, the number comes from the store's clock, which each process knows to within a second.
    ///
    /// A resource that remembers the largest number it has seen, and refuses smaller ones, is safe from an attempt that
    /// counts as dead and wakes up later.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.acquired().map_or(0, |acquired| acquired.fence)
    }

    /// Whether an earlier attempt at this key stopped without reporting a result. Its effects may or may not have
    /// happened.
    #[must_use]
    pub fn recovering(&self) -> bool {
        self.acquired().is_some_and(|acquired| acquired.recovering)
    }

    /// Whether the handler runs under a claim. False without a key, on a safe method, and when the handler runs without
    /// a claim during an outage.
    #[must_use]
    pub fn protected(&self) -> bool {
        self.acquired().is_some()
    }

    /// A key for another service: a UUID that is the same for every attempt at this key, and different for each
    /// `purpose`. If the client sent no key, it stays the same within this request only.
    ///
    /// It is derived from the key's name in the store. Without the attribute's `scope`, two callers who choose the same
    /// key get the same UUID, and the provider takes the second order for a repetition of the first. So set `scope`.
    ///
    /// A client that uses its key again after the `ttl` gets the same UUID once more. If the provider remembers keys for
    /// longer, it answers with the old charge, and the handler makes a new order for it. So make the `ttl` at least as long
    /// as the provider's memory, or require dated keys with `key = "uuidv7"`.
    #[must_use]
    pub fn derive_key(&self, purpose: &str) -> Uuid {
        match self.attempt() {
            Some(active) => identity::derive(active.claim.key.as_str().as_bytes(), purpose),
            None => identity::derive(self.cell.nonce().as_bytes(), purpose),
        }
    }

    /// Resolves when the claim may have been lost: another attempt has the key, or the lease is about to end because no
    /// heartbeat reached the store, or the attempt has lasted longer than
    /// [`max_attempt`](crate::IdempotencyBuilder::max_attempt). It never resolves when the handler runs without a
    /// claim.
    ///
    /// It resolves before the lease is over, by a tenth of the lease and at most a second. So the handler can stop
    /// before another attempt starts.
    ///
    /// The handler is not cancelled. Its response is sent, and stored only if no other attempt has the key. Use
    /// `tokio::select!` with this and any work that must not be done twice.
    pub async fn lost(&self) {
        match self.attempt().filter(|active| active.acquired.is_some()) {
            Some(active) => active.lost().await,
            None => pending().await,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Claim {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::new(cell_of(&mut parts.extensions)))
    }
}
