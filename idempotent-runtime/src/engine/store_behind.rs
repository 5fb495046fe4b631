//! Ends an attempt in the background, after its answer, when the store does not take the end in time.

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
    store::{ClaimRequest, CompleteOutcome, StoreError},
    telemetry::limited,
};

/// How long the store is asked to take the end of an attempt.
pub(super) const PERSIST_FOR: Duration = Duration::from_secs(10 * 60);

/// A response that was sent and is still to be stored.
pub(super) struct Unsaved {
    pub(super) attempt: ClaimRequest,
    pub(super) record: Bytes,
    /// The record that is stored when there is no room for the whole one. `None` if the journal has the response.
    pub(super) without_body: Option<Bytes>,
    /// Renews the lease meanwhile.
    pub(super) heartbeat: Option<Heartbeat>,
}

/// Stores a response, in a task of its own.
pub(super) fn store(active: &Arc<ActiveAttempt>, unsaved: Unsaved, error: &StoreError) {
    limited!(warn, error = %chain(error), "a response is sent before it is stored");
    let (active, background) = (Arc::clone(active), active.engine.load.background());
    let span = active.telemetry.span().clone();
    let work = async move {
        let Unsaved { attempt, record, without_body, heartbeat } = unsaved;
        let stored = complete(&active, &attempt, record, without_body).await;
        match stored {
            Ok(stored) => ending::completed(&active, stored),
            Err(error) => {
                active.telemetry.unsaved(active.attempt.key.as_str(), &chain(&error));
            }
        }
        drop((heartbeat, background));
    };
    tokio::spawn(work.instrument(span));
}

/// Stores the whole record if there is memory for it. Otherwise stores only that the request ran, so that waiting
/// responses do not fill the memory.
async fn complete(
    active: &ActiveAttempt,
    attempt: &ClaimRequest,
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

async fn persist(
    active: &ActiveAttempt,
    attempt: &ClaimRequest,
    record: &Bytes,
) -> Result<CompleteOutcome, StoreError> {
    let each = active.engine.settings.store_timeout;
    let call = || active.engine.store.complete(attempt, active.fence(), record.clone());
    deadline::repeated(PERSIST_FOR, each, Patience::InBackground, call).await
}

/// Gives up a claim, in a task of its own.
pub(super) fn give_up(active: &Arc<ActiveAttempt>, what: GivenUp, error: &StoreError) {
    limited!(warn, error = %chain(error), "the store did not answer when an attempt ended; ending it is tried again in the background");
    let (active, background) = (Arc::clone(active), active.engine.load.background());
    let span = active.telemetry.span().clone();
    let work = async move {
        let each = active.engine.settings.store_timeout;
        let ended = match active.engine.unsaved.try_acquire() {
            Ok(_room) => {
                let ended = deadline::repeated(PERSIST_FOR, each, Patience::InBackground, || {
                    what.end(&active.engine, &active.attempt)
                })
                .await;
                // Saving the steps creates the claim again if it has expired meanwhile. So the claim is ended once
                // more.
                if ended.is_ok() && active.steps.has_unsaved() && active.save_steps().await.is_ok() {
                    let _ = deadline::once(each, what.end(&active.engine, &active.attempt)).await;
                }
                ended.map(drop)
            }
            Err(_) => Err(StoreError::Full("too many ends of attempts wait to be stored")),
        };
        match ended {
            Ok(()) => ending::gave_up(&active, what),
            Err(error) => active.telemetry.unsaved(active.attempt.key.as_str(), &chain(&error)),
        }
        drop(background);
    };
    tokio::spawn(work.instrument(span));
}
