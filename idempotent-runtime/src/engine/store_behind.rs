//! Goes on with the end of an attempt behind its answer, when the store does not take it in time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tracing::Instrument as _;

use super::{
    attempt::ActiveAttempt,
    deadline::{self, Patience},
    ending,
    heartbeat::Heartbeat,
    release::GivenUp,
};
use crate::{
    error_chain::chain,
    store::{Attempt, CompleteOutcome, StoreError},
    telemetry::AttemptEnd,
};

/// For so long the end of an attempt is offered to a store that does not take it.
pub(super) const PERSIST_FOR: Duration = Duration::from_secs(10 * 60);

/// A response that was sent and is still to be stored.
pub(super) struct Unsaved {
    pub(super) attempt: Attempt,
    pub(super) record: Bytes,
    /// What is kept instead when there is no room for the record; `None` if the journal keeps it anyway.
    pub(super) without_body: Option<Bytes>,
    /// The lease is kept meanwhile.
    pub(super) heartbeat: Option<Heartbeat>,
}

/// Stores a response in a task of its own.
pub(super) fn store(active: &Arc<ActiveAttempt>, unsaved: Unsaved, error: &StoreError) {
    tracing::warn!(error = %chain(error), "a response is sent before it is stored");
    let (active, background) = (Arc::clone(active), active.engine.load.background());
    let span = active.telemetry.span().clone();
    let work = async move {
        let Unsaved { attempt, record, without_body, heartbeat } = unsaved;
        let stored = complete(&active, &attempt, record, without_body).await;
        match stored {
            Ok(stored) => ending::completed(&active, stored),
            Err(error) => {
                tracing::error!(error = %chain(&error), "a response is not stored");
                active.telemetry.ended(active.attempt.key.as_str(), AttemptEnd::Unsaved);
            }
        }
        drop((heartbeat, background));
    };
    tokio::spawn(work.instrument(span));
}

/// Too much that waits to be stored would fill the memory; then only that the request ran is kept.
async fn complete(
    active: &ActiveAttempt,
    attempt: &Attempt,
    record: Bytes,
    without_body: Option<Bytes>,
) -> Result<CompleteOutcome, StoreError> {
    let unsaved = &active.engine.unsaved;
    let kib = u32::try_from(record.len() / 1024 + 1).unwrap_or(u32::MAX);
    if let Ok(_room) = unsaved.try_acquire_many(kib) {
        return persist(active, attempt, &record).await;
    }
    drop(record);
    match (without_body, unsaved.try_acquire()) {
        (Some(record), Ok(_room)) => persist(active, attempt, &record).await,
        _ => Err(StoreError::Full("too many responses wait to be stored")),
    }
}

async fn persist(active: &ActiveAttempt, attempt: &Attempt, record: &Bytes) -> Result<CompleteOutcome, StoreError> {
    let each = active.engine.settings.store_timeout;
    let call = || active.engine.store.complete(attempt, active.fence(), record.clone());
    deadline::repeated(PERSIST_FOR, each, Patience::UntilTheEnd, call).await
}

/// Gives up a claim in a task of its own.
pub(super) fn give_up(active: &Arc<ActiveAttempt>, what: GivenUp, error: &StoreError) {
    tracing::warn!(error = %chain(error), "the store did not take the end of an attempt; it is tried again");
    let (active, background) = (Arc::clone(active), active.engine.load.background());
    let span = active.telemetry.span().clone();
    let work = async move {
        let each = active.engine.settings.store_timeout;
        let ended = match active.engine.unsaved.try_acquire() {
            Ok(_room) => {
                let ended = deadline::repeated(PERSIST_FOR, each, Patience::UntilTheEnd, || {
                    what.end(&active.engine, &active.attempt)
                })
                .await;
                // Saving makes the claim again if it has expired meanwhile, so it is ended once more.
                if ended.is_ok() && active.steps.has_unsaved() && active.save_steps().await.is_ok() {
                    let _ = deadline::once(each, what.end(&active.engine, &active.attempt)).await;
                }
                ended.is_ok()
            }
            Err(_) => false,
        };
        if ended {
            ending::gave_up(&active, what);
        } else {
            active.telemetry.ended(active.attempt.key.as_str(), AttemptEnd::Unsaved);
        }
        drop(background);
    };
    tokio::spawn(work.instrument(span));
}
