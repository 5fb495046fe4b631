//! Saves the values of a handler's steps.

use super::{
    attempt::ActiveAttempt,
    deadline::{self, RetryUntil},
    steps::Value,
};
#[cfg(feature = "_sql")]
use crate::journal::Unanswered;
use crate::{
    error_chain::chain,
    store::{SaveOutcome, StoreError},
    telemetry::limited,
};

/// Why a step's value was not saved.
#[derive(Debug)]
pub(crate) enum NotSaved {
    /// Another attempt has the key.
    Lost,
    /// The attempt has ended.
    Ended,
    /// The store did not take it. The next save includes it.
    Later(StoreError),
}

impl ActiveAttempt {
    /// Adds a step's value, and saves all steps. `Ok`: the value that counts, even if it will be saved later.
    pub(crate) async fn save_step(&self, name: &str, value: Value) -> Result<Value, NotSaved> {
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
    pub(crate) async fn settle_steps(&self) -> Result<(), NotSaved> {
        if !self.steps.in_doubt() {
            return Ok(());
        }
        let _saving = self.steps.saving.lock().await;
        self.settle_in_turn().await
    }

    /// The caller holds the lock for saving.
    #[cfg(feature = "_sql")]
    pub(crate) async fn settle_in_turn(&self) -> Result<(), NotSaved> {
        let Some(journal) = self.engine.journal.as_deref().filter(|_| self.steps.in_doubt()) else { return Ok(()) };
        match journal.settle_steps(&self.attempt).await {
            Ok(Some(found)) => {
                self.steps.settled(&found);
                Ok(())
            }
            Ok(None) => {
                self.lose("the row of the claim is no longer this attempt's");
                Err(NotSaved::Lost)
            }
            Err(Unanswered::Timeout) => Err(NotSaved::Later(StoreError::Timeout)),
            Err(error) => Err(NotSaved::Later(StoreError::Refused(error.into()))),
        }
    }

    /// Saves all steps, if the store does not have them yet.
    pub(super) async fn save_steps(&self) -> Result<(), NotSaved> {
        let _saving = self.steps.saving.lock().await;
        #[cfg(feature = "_sql")]
        self.settle_in_turn().await?;
        let Some(steps) = self.steps.to_save() else { return Ok(()) };
        let timeout = self.engine.settings.store_timeout;
        let call = || self.engine.store.save_steps(&self.attempt, self.fence(), steps.clone());
        match deadline::repeated(timeout, timeout, RetryUntil::ClientGivesUp, call).await {
            Ok(SaveOutcome::Saved) => {
                self.steps.saved_as(steps);
                Ok(())
            }
            Ok(SaveOutcome::Lost) => Err(NotSaved::Lost),
            Err(error) => Err(NotSaved::Later(error)),
        }
    }
}
