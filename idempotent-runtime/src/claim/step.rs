//! [`Claim::step`]: recovery points, for handlers with several effects outside one database.

use std::future::Future;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::Claim;
use crate::engine::{NotSaved, Value};

/// Why a step has no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError<E> {
    /// The step's own error. Nothing is saved, so the next attempt runs the step again.
    #[error(transparent)]
    Failed(E),
    /// Another attempt has the key: stop, since it goes on from here. What this step did is not saved.
    #[error("another attempt has the key, so this one must stop")]
    Lost,
    /// The step ran, here or in an earlier attempt, and its value is too large to be kept with those of the other steps:
    /// together they may take [`max_response`](crate::IdempotencyBuilder::max_response) bytes. It does not run again.
    /// Return less from it, such as an id.
    #[error("the step ran, but its value is too large to be kept; return less from it, such as an id")]
    TooLarge,
    /// The value cannot be written as JSON. The step ran and is not saved, so the next attempt runs it again.
    #[error("the step's value cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// What an earlier attempt saved is not of this type. The step does not run.
    #[error("what an earlier attempt saved cannot be read as this type")]
    Unreadable(#[source] serde_json::Error),
}

impl Claim {
    /// Runs one effect of the handler at most once for the key, as far as its value was saved, and gives its value back to
    /// every later attempt.
    ///
    /// A handler with several effects outside one database (charge a card, write an order, send a mail) must not start over
    /// when it died half-way. Each effect becomes a step: its `Ok` value is saved with the claim, and a later attempt at the
    /// key gets the value without running the step. An answer that would free the key (5xx) keeps the saved steps, and
    /// the next attempt is [`recovering`](Self::recovering).
    ///
    /// ```
    /// use axum::{Json, http::StatusCode};
    /// use idempotent_runtime::{Claim, StepError, idempotent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Charge { id: String }
    /// # #[derive(Debug)] struct Declined;
    /// # async fn charge_card(_: uuid::Uuid) -> Result<Charge, Declined> { Ok(Charge { id: "ch_1".into() }) }
    /// # async fn send_mail(_: uuid::Uuid, _: &Charge) -> Result<(), Declined> { Ok(()) }
    ///
    /// #[idempotent(ttl = "24h")]
    /// async fn checkout(claim: Claim) -> Result<Json<Charge>, StatusCode> {
    ///     let charge = claim.step("charge", || charge_card(claim.derive_key("charge"))).await.map_err(status)?;
    ///     claim.step("mail", || send_mail(claim.derive_key("mail"), &charge)).await.map_err(status)?;
    ///     Ok(Json(charge))
    /// }
    ///
    /// fn status(error: StepError<Declined>) -> StatusCode {
    ///     match error {
    ///         StepError::Failed(Declined) => StatusCode::PAYMENT_REQUIRED,
    ///         _ => StatusCode::SERVICE_UNAVAILABLE,
    ///     }
    /// }
    /// ```
    ///
    /// A crash between an effect and its save runs that one step again. So give the effect a key of its own that is the
    /// same for every attempt, by [`derive_key`](Self::derive_key).
    ///
    /// A name that is used twice in one attempt gives the first value. The order of steps may change from one version of a
    /// handler to the next, their names may not. Values are written as JSON, and all values of a key together may take
    /// [`max_response`](crate::IdempotencyBuilder::max_response) bytes. If the store does not take a value, the step
    /// returns it all the same; it is saved with the next step or when the handler ends. Without a claim the step just
    /// runs. It is no workflow engine: there are no timers, no signals and no history.
    ///
    /// # Errors
    /// [`StepError`]. The step did not run, or failed by itself, unless the variant says otherwise.
    pub async fn step<T, E, F, Fut>(&self, name: &str, run: F) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let Some(active) = self.attempt().filter(|active| active.held.is_some()) else {
            return run().await.map_err(StepError::Failed);
        };
        if let Some(value) = active.steps.find(name) {
            return read(&value);
        }
        if active.is_lost() {
            return Err(StepError::Lost);
        }
        let value = run().await.map_err(StepError::Failed)?;
        let written = Bytes::from(serde_json::to_vec(&value).map_err(StepError::Unwritable)?);
        match active.save_step(name, written.clone()).await {
            (_, Err(NotSaved::Lost)) => Err(StepError::Lost),
            (Value::Kept(kept), _) if kept == written => Ok(value),
            // A step of the same name was faster.
            (first, _) => read(&first),
        }
    }
}

fn read<T: DeserializeOwned, E>(value: &Value) -> Result<T, StepError<E>> {
    match value {
        Value::Kept(written) => serde_json::from_slice(written).map_err(StepError::Unreadable),
        Value::TooLarge => Err(StepError::TooLarge),
    }
}
