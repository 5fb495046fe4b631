//! An attempt that has the key: it runs, its lease is kept, and what comes of it is stored.

use std::{any::Any, sync::Arc, time::Duration};

use axum::response::Response;
use bytes::Bytes;
use tokio::{pin, select};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::{
    claim::Claimed,
    deadline,
    error_chain::chain,
    heartbeat,
    journal::Page,
    observe::{self, End},
    outcome::{self, Outcome, Settled},
    policy::Policy,
    protect::{Handler, Reply},
    refusal,
    store::{Attempt, Completion, StoreError},
};

/// For so long a response that was sent is offered to a store that does not take it.
const PERSIST_FOR: Duration = Duration::from_secs(10 * 60);

/// An attempt whose handler may run.
pub(crate) struct Running {
    page: Arc<Page>,
    policy: &'static Policy,
    lost: CancellationToken,
}

impl Running {
    pub(crate) fn new(page: Arc<Page>, policy: &'static Policy) -> Self {
        Self { page, policy, lost: CancellationToken::new() }
    }

    /// The handler's view of the claim.
    pub(crate) fn claimed(&self, recovering: bool) -> Claimed {
        Claimed { fence: self.page.fence.unwrap_or(0), recovering, lost: self.lost.clone() }
    }

    /// Runs the handler to its end, whether or not somebody still waits for the reply.
    pub(crate) async fn run(self, handler: Handler, reply: Reply) {
        let Page { engine, attempt, fence, .. } = &*self.page;
        let heartbeat = async {
            match *fence {
                Some(fence) => heartbeat::keep(engine, attempt, fence, &self.lost).await,
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
                let attempt = row.map_or_else(|| attempt.clone(), |row| row.terms(attempt));
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
        engine.waiting.wake(&attempt.key);
    }

    /// The handler, and the reading of its response, in a task of their own: they may panic, and they may block.
    async fn execute(&self, handler: Handler) -> Outcome {
        let Page { engine, .. } = &*self.page;
        let work = Box::pin(outcome::produce(handler, self.policy.replay, engine.settings.max_response));
        let task = engine.tasks.spawn(work.instrument(Span::current()));
        match task.await {
            Ok(outcome) => outcome,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => Outcome::Panicked(panic),
                // The runtime is going down.
                Err(_) => Outcome::Broken(engine.settings.answer(refusal::outcome_unknown())),
            },
        }
    }

    /// Stores first, then answers. If the store does not take it, answers first and stores behind it.
    async fn settle(&self, attempt: &Attempt, settled: Settled, reply: Reply) {
        let Settled { record, without_body, response, .. } = settled;
        let engine = &self.page.engine;
        let stored = self.complete(attempt, engine.settings.store_timeout, &record).await;
        if stored.is_ok() {
            engine.waiting.wake(&attempt.key);
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
                        tracing::error!(error = %chain(&error), "a response is not stored");
                        return observe::ended(self.policy.handler, End::Unsaved);
                    }
                }
            }
        };
        observe::ended(self.policy.handler, completion.into());
    }

    async fn complete(&self, attempt: &Attempt, limit: Duration, record: &Bytes) -> Result<Completion, StoreError> {
        let Page { engine, fence, .. } = &*self.page;
        let fence = fence.unwrap_or(0);
        let each = engine.settings.store_timeout;
        deadline::repeated(limit, each, || engine.store.complete(attempt, fence, record.clone())).await
    }

    /// Too much that waits to be stored would fill the memory; then only that the request ran is kept.
    async fn complete_behind(
        &self,
        attempt: &Attempt,
        record: Bytes,
        without_body: Option<Bytes>,
    ) -> Result<Completion, StoreError> {
        let kib = u32::try_from(record.len() / 1024 + 1).unwrap_or(u32::MAX);
        if let Ok(_room) = self.page.engine.unsaved.try_acquire_many(kib) {
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
        let Page { engine, attempt, .. } = &*self.page;
        let limit = engine.settings.store_timeout;
        let end = || async {
            match what {
                Free::Key => engine.store.release(attempt).await,
                Free::Lease => engine.store.abandon(attempt).await,
            }
        };
        let ended = deadline::repeated(limit, limit, end).await;
        engine.waiting.wake(&attempt.key);
        let _ = reply.send(answer);
        let given_up = ended.is_ok() || deadline::repeated(PERSIST_FOR, limit, end).await.is_ok();
        observe::ended(self.policy.handler, if given_up { what.into() } else { End::Unsaved });
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

impl From<Free> for End {
    fn from(what: Free) -> Self {
        match what {
            Free::Key => Self::Freed,
            Free::Lease => Self::Abandoned,
        }
    }
}
