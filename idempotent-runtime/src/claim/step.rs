//! [`Claim::step`]: recovery points, for handlers with several effects outside one database.

use std::future::Future;

use serde::{Serialize, de::DeserializeOwned};

use super::Claim;
use crate::{
    engine::{ActiveAttempt, NotSaved, Value},
    error_chain::chain,
    telemetry::limited,
};

/// Why [`Claim::step`] returned no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError<E> {
    /// The step's own error. Nothing is saved, so the next attempt runs the step again.
    #[error(transparent)]
    Failed(E),
    /// This attempt has used the name for another step. This one did not run. Give each step its own name, such as
    /// `format!("charge {n}")` for each item of a list.
    #[error("this attempt has used the step's name already; give each step its own name, such as `charge 2`")]
    NameUsed,
    /// The attempt has ended: the handler has returned. A task that outlives its handler cannot run steps for it. The step
    /// did not run. If it was running when the attempt ended, its value is not saved.
    #[error("the attempt has ended, so it has no more steps; finish them before the handler returns")]
    Ended,
    /// Another attempt has the key and goes on with the work, so this one must stop. The value of this step is not
    /// saved.
    #[error("another attempt has the key, so this one must stop")]
    Lost,
    /// The step ran, now or in an earlier attempt, but its value is too large to be saved. The values of all steps
    /// together may take [`max_response`](crate::IdempotencyBuilder::max_response) bytes. The step does not run again.
    /// Return less from it, such as an id. A [`step_in`](Claim::step_in) is rolled back.
    #[error("the step ran, but its value is too large to be kept; return less from it, such as an id")]
    TooLarge,
    /// The step ran, now or in an earlier attempt, but its value cannot be written as JSON. The step does not run again,
    /// and every later attempt gets this error. A [`step_in`](Claim::step_in) is rolled back.
    #[error("the step ran, but its value, a `{type_name}`, cannot be written as JSON")]
    Unwritable {
        /// The type of the value.
        type_name: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The step ran, now or in an earlier attempt, but its saved value cannot be read as this type. The step does not run
    /// again. A later attempt whose type fits gets the value. A [`step_in`](Claim::step_in) is rolled back, unless an
    /// earlier attempt has committed it.
    #[error("the step ran, but its value cannot be read back as a `{type_name}`")]
    Unreadable {
        /// The type that was asked for.
        type_name: &'static str,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// The transaction of [`step_in`](Claim::step_in) was not committed, or that is not known
    /// ([`CommitError::Unknown`](crate::CommitError::Unknown)).
    #[cfg(feature = "_sql")]
    #[error("the step's transaction was not committed")]
    Commit(#[source] super::CommitError),
}

impl Claim {
    /// Runs one effect of the handler and saves its value. Every later attempt at the key gets the saved value, and the
    /// effect does not run again.
    ///
    /// A handler with several effects outside one database (charge a card, write an order, send a mail) must not repeat
    /// them when an earlier attempt died half-way. Make each effect a step: its `Ok` value is saved with the claim, and
    /// a later attempt gets the value without running the step. A response that frees the key (5xx) keeps the saved
    /// steps, and the next attempt is [`recovering`](Self::recovering).
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
    /// If the process dies after the effect and before its value is saved, that one step runs again. So give the effect
    /// a key that is the same for every attempt, by [`derive_key`](Self::derive_key).
    ///
    /// - **Names.** Each step of an attempt has its own name; a name that is used twice is an error before the second
    ///   effect. For a list of items, put the item into the name: `format!("charge {n}")`. A new version of the handler may
    ///   change the order of the steps, but not their names.
    /// - **Values** are written as JSON and read back, so every attempt gets the same value. All values of a key together
    ///   may take [`max_response`](crate::IdempotencyBuilder::max_response) bytes.
    /// - **If the store does not take a value**, the step still returns it. It is saved with the next step, or when the
    ///   handler ends.
    /// - **When the handler has returned**, there are no more steps: a task that outlives it gets
    ///   [`StepError::Ended`].
    /// - **Without a claim** the step just runs.
    /// - **It is not a workflow engine.** There are no timers, no signals and no history.
    ///
    /// # Errors
    /// [`StepError`]. The step did not run, or failed by itself, unless the variant says otherwise.
    pub async fn step<T, E, F, Fut>(&self, name: impl AsRef<str>, run: F) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let Some(active) = self.attempt().filter(|active| active.acquired.is_some()) else {
            return run().await.map_err(StepError::Failed);
        };
        if active.has_ended() {
            return Err(StepError::Ended);
        }
        let name = name.as_ref();
        let used = active.steps.enter(name).ok_or(StepError::NameUsed)?;
        #[cfg(feature = "_sql")]
        active.settle_steps().await.map_err(|error| match error {
            NotSaved::Lost => StepError::Lost,
            NotSaved::Ended => StepError::Ended,
            NotSaved::Later(error) => StepError::Commit(super::CommitError::Unknown(error.into())),
        })?;
        if let Some(value) = active.steps.find(name) {
            used.ran();
            return read(&value);
        }
        if active.is_lost() {
            return Err(StepError::Lost);
        }
        let value = run().await.map_err(StepError::Failed)?;
        used.ran();
        // The effect has happened, so that it ran is saved in any case.
        let written = match serde_json::to_vec(&value) {
            Ok(written) => Value::Kept(written.into()),
            Err(error) => Value::Unwritable(error.to_string()),
        };
        match active.save_step(name, written).await {
            Ok(saved) => read(&saved),
            Err(NotSaved::Ended) => Err(StepError::Ended),
            Err(NotSaved::Lost | NotSaved::Later(_)) => Err(StepError::Lost),
        }
    }
}

impl ActiveAttempt {
    /// Adds a step's value, and saves all steps. `Ok`: the value that counts, even if it will be saved later.
    async fn save_step(&self, name: &str, value: Value) -> Result<Value, NotSaved> {
        if self.has_ended() {
            return Err(NotSaved::Ended);
        }
        let kept = self.steps.add(name, value, self.engine.settings.max_response);
        match self.save_steps().await {
            Ok(()) => Ok(kept),
            // The end of the attempt came first.
            Err(_) if self.has_ended() => Err(NotSaved::Ended),
            Err(NotSaved::Later(error)) => {
                limited!(STEP_NOT_SAVED; self.about(), error = %chain(&error));
                Ok(kept)
            }
            Err(error) => {
                self.lose("another attempt has the key, so a step was not saved");
                Err(error)
            }
        }
    }

    /// If it is not known whether a step was committed, finds out. Waits until its transaction is over.
    #[cfg(feature = "_sql")]
    async fn settle_steps(&self) -> Result<(), NotSaved> {
        if !self.steps.in_doubt() {
            return Ok(());
        }
        let _saving = self.steps.saving.lock().await;
        self.settle_in_turn().await
    }
}

fn read<T: DeserializeOwned, E>(value: &Value) -> Result<T, StepError<E>> {
    match value {
        Value::Kept(written) => parse(written),
        Value::TooLarge => Err(StepError::TooLarge),
        Value::Unwritable(reason) => Err(unwritable::<T, E>(serde::ser::Error::custom(reason))),
    }
}

pub(super) fn parse<T: DeserializeOwned, E>(written: &[u8]) -> Result<T, StepError<E>> {
    serde_json::from_slice(written)
        .map_err(|source| StepError::Unreadable { type_name: std::any::type_name::<T>(), source })
}

pub(super) fn unwritable<T, E>(source: serde_json::Error) -> StepError<E> {
    StepError::Unwritable { type_name: std::any::type_name::<T>(), source }
}
