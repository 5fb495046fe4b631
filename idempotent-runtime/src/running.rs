//! An attempt that has the key: it runs, its lease is kept, and what comes of it is stored.

use std::{any::Any, sync::Arc, time::Duration};

use axum::response::Response;
use bytes::Bytes;
use tokio::{pin, select};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, instrument::WithSubscriber};

use crate::{
    claim::Claimed,
    deadline,
    error_chain::chain,
    heartbeat,
    idempotency::Engine,
    journal::Page,
    outcome::{self, Outcome, Settled},
    policy::Policy,
    protect::{Handler, Reply},
    refusal,
    store::{Attempt, Completion, StoreError},
};

/// For so long a response that was sent is offered to a store that does not take it.
const PERSIST_FOR: Duration = Duration::from_secs(10 * 60);

/// An attempt whose handler may run.
pub(crate) struct Running<'a> {
    engine: &'a Arc<Engine>,
    policy: &'static Policy,
    attempt: &'a Attempt,
    /// `None`: the store is down, and the service runs unprotected then.
    fence: Option<u64>,
    page: Arc<Page>,
    lost: CancellationToken,
}

impl<'a> Running<'a> {
    /// Without a fence there is no claim; what it answers is stored all the same, if the key is still absent then.
    pub(crate) fn new(
        engine: &'a Arc<Engine>,
        policy: &'static Policy,
        attempt: &'a Attempt,
        fence: Option<u64>,
        page: Arc<Page>,
    ) -> Self {
        Self { engine, policy, attempt, fence, page, lost: CancellationToken::new() }
    }

    /// The handler's view of the claim.
    pub(crate) fn claimed(&self, recovering: bool) -> Claimed {
        if recovering {
            tracing::warn!(idempotency.outcome = "takeover", handler = self.policy.handler, "an earlier attempt died");
        }
        Claimed { fence: self.fence.unwrap_or(0), recovering, lost: self.lost.clone() }
    }

    /// Runs the handler to its end, whether or not somebody still waits for the reply.
    pub(crate) async fn run(self, handler: Handler, reply: Reply) {
        let heartbeat = async {
            match self.fence {
                Some(fence) => heartbeat::keep(self.engine, self.attempt, fence, &self.lost).await,
                None => std::future::pending().await,
            }
        };
        pin!(heartbeat);
        let (outcome, row) = select! {
            ended = async { self.page.close(self.execute(handler).await).await } => ended,
            never = &mut heartbeat => match never {},
        };
        match outcome {
            Outcome::Settled(settled) => {
                let attempt = row.map_or_else(|| self.attempt.clone(), |row| row.terms(self.attempt));
                select! {
                    () = self.settle(&attempt, settled, reply) => {}
                    never = &mut heartbeat => match never {},
                }
            }
            // No heartbeat from here on: one that comes late must not create again what was just given up.
            Outcome::Freed(response) => self.give_up(Free::Key, reply, Ok(response)).await,
            Outcome::Broken(response) => self.give_up(Free::Lease, reply, Ok(response)).await,
            Outcome::Panicked(panic) => self.give_up(Free::Lease, reply, Err(panic)).await,
        }
        self.engine.waiting.wake(&self.attempt.key);
    }

    /// The handler, and the reading of its response, in a task of their own: they may panic, and they may block.
    async fn execute(&self, handler: Handler) -> Outcome {
        let work = outcome::produce(handler, self.policy.replay, self.engine.settings.max_response);
        let task = self.engine.tasks.spawn(work.instrument(Span::current()).with_current_subscriber());
        match task.await {
            Ok(outcome) => outcome,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => Outcome::Panicked(panic),
                // The runtime is going down.
                Err(_) => Outcome::Broken(self.engine.settings.answer(refusal::outcome_unknown())),
            },
        }
    }

    /// Stores first, then answers. If the store does not take it, answers first and stores behind it.
    async fn settle(&self, attempt: &Attempt, settled: Settled, reply: Reply) {
        let Settled { record, without_body, response, .. } = settled;
        let limit = self.engine.settings.store_timeout;
        let stored = self.complete(attempt, limit, &record).await;
        if stored.is_ok() {
            self.engine.waiting.wake(&self.attempt.key);
        }
        // The client may be gone; its retry finds the response.
        let _ = reply.send(Ok(response));
        let completion = match stored {
            Ok(completion) => completion,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a response was sent before it was stored");
                match self.complete_behind(attempt, record, without_body).await {
                    Ok(completion) => completion,
                    Err(error) => {
                        tracing::error!(error = %chain(&error), idempotency.outcome = "unsaved", "a response is not stored");
                        return;
                    }
                }
            }
        };
        match completion {
            Completion::Stored | Completion::AlreadyStored => tracing::debug!(idempotency.outcome = "stored"),
            Completion::Lost => {
                tracing::warn!(
                    idempotency.outcome = "fenced",
                    "a response is not stored: the key is another attempt's"
                );
            }
        }
    }

    async fn complete(&self, attempt: &Attempt, limit: Duration, record: &Bytes) -> Result<Completion, StoreError> {
        let (store, fence) = (&self.engine.store, self.fence.unwrap_or(0));
        let each = self.engine.settings.store_timeout;
        deadline::repeated(limit, each, || store.complete(attempt, fence, record.clone())).await
    }

    /// Too much that waits to be stored would fill the memory; then only that the request ran is kept.
    async fn complete_behind(
        &self,
        attempt: &Attempt,
        record: Bytes,
        without_body: Option<Bytes>,
    ) -> Result<Completion, StoreError> {
        let kib = u32::try_from(record.len() / 1024 + 1).unwrap_or(u32::MAX);
        if let Ok(_room) = self.engine.unsaved.try_acquire_many(kib) {
            return self.complete(attempt, PERSIST_FOR, &record).await;
        }
        drop(record);
        match without_body {
            Some(record) => self.complete(attempt, PERSIST_FOR, &record).await,
            None => Err(StoreError::Full("too many responses wait to be stored; the journal has this one")),
        }
    }

    /// Ends the claim, then answers; if the store does not take it, answers and goes on trying.
    async fn give_up(&self, what: Free, reply: Reply, answer: Result<Response, Box<dyn Any + Send>>) {
        let (store, limit) = (&self.engine.store, self.engine.settings.store_timeout);
        let end = || async {
            match what {
                Free::Key => store.release(self.attempt).await,
                Free::Lease => store.abandon(self.attempt).await,
            }
        };
        let ended = deadline::repeated(limit, limit, end).await;
        self.engine.waiting.wake(&self.attempt.key);
        let _ = reply.send(answer);
        if ended.is_err() && deadline::repeated(PERSIST_FOR, limit, end).await.is_err() {
            tracing::error!(idempotency.outcome = "unsaved", "a claim could not be given up; its lease ends it");
        }
    }
}

/// What is given up with a claim.
#[derive(Clone, Copy)]
enum Free {
    /// The key: the next attempt is as good as the first.
    Key,
    /// Only the lease: what this attempt did is unknown, and the next one is told so.
    Lease,
}
