//! An attempt that has the key: it runs, its lease is kept, and what comes of it is stored.

use std::{future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{select, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::{
    config::policy::Policy,
    engine::deadline,
    engine::heartbeat,
    engine::outcome::{self, Outcome},
    engine::page::Claimed,
    engine::page::Page,
    engine::{Handler, Replied, protect::Reply},
    error_chain::chain,
    response::encode::Settled,
    response::problem_texts,
    store::{Acquired, Attempt, CompleteOutcome, StoreError},
    telemetry::{self, End},
};

/// For so long a response that was sent is offered to a store that does not take it.
const PERSIST_FOR: Duration = Duration::from_secs(10 * 60);

/// An attempt whose handler may run.
pub(crate) struct Running {
    page: Arc<Page>,
    policy: &'static Policy,
    /// The moment before the claim was asked for.
    claimed: Instant,
    lost: CancellationToken,
}

impl Running {
    pub(crate) fn new(page: Arc<Page>, policy: &'static Policy, claimed: Instant) -> Self {
        Self { page, policy, claimed, lost: CancellationToken::new() }
    }

    /// The handler's view of the claim.
    pub(crate) fn claimed(&self, recovering: bool) -> Claimed {
        Claimed { fence: self.page.fence.unwrap_or(0), recovering, lost: self.lost.clone() }
    }

    /// Runs the handler to its end, whether or not somebody still waits for the reply.
    pub(crate) async fn run(self, handler: Handler, reply: Reply) {
        let Page { engine, attempt, fence, .. } = &*self.page;
        let held = fence.map(|fence| Acquired::new(fence, self.page.recovering));
        let mut heartbeat = Box::pin(async {
            match held {
                Some(ref held) => heartbeat::keep(engine, attempt, held, self.claimed, &self.lost).await,
                None => pending().await,
            }
        });
        let (outcome, row) = select! {
            ended = async { self.page.close(self.execute(handler).await).await } => ended,
            never = &mut heartbeat => match never {},
        };
        let (what, replied) = match outcome {
            Outcome::Settled(settled) => {
                let attempt = row.map_or_else(|| attempt.clone(), |row| row.terms(attempt));
                return select! {
                    () = self.settle(&attempt, settled, reply) => {}
                    never = &mut heartbeat => match never {},
                };
            }
            Outcome::Freed(response) => (Free::Key, Ok(response)),
            Outcome::Broken(response) => (Free::Lease, Ok(response)),
            Outcome::Panicked(panic) => (Free::Lease, Err(panic)),
        };
        // A renewal that is under way holds a place in the store's queue, and one that comes late would create again what
        // is given up.
        drop(heartbeat);
        self.give_up(what, reply, replied).await;
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
                Err(_) => Outcome::Broken(engine.settings.answer(problem_texts::interrupted())),
            },
        }
    }

    /// Stores first, then answers. If the store does not take it, answers first and stores behind it.
    async fn settle(&self, attempt: &Attempt, settled: Settled, reply: Reply) {
        let Settled { record, without_body, response, .. } = settled;
        let engine = &self.page.engine;
        let stored = self.complete(attempt, engine.settings.store_timeout, &record).await;
        engine.waiters.wake(&attempt.key);
        reply.send(Ok(response));
        let stored = match stored {
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a response was sent before it was stored");
                let stored = self.complete_behind(attempt, record, without_body).await;
                engine.waiters.wake(&attempt.key);
                stored
            }
            stored => stored,
        };
        if let Err(error) = &stored {
            tracing::error!(error = %chain(error), "a response is not stored");
        }
        telemetry::ended(self.policy.handler, stored.map_or(End::Unsaved, End::from));
    }

    async fn complete(
        &self,
        attempt: &Attempt,
        limit: Duration,
        record: &Bytes,
    ) -> Result<CompleteOutcome, StoreError> {
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
    ) -> Result<CompleteOutcome, StoreError> {
        let unsaved = &self.page.engine.unsaved;
        let kib = u32::try_from(record.len() / 1024 + 1).unwrap_or(u32::MAX);
        if let Ok(_room) = unsaved.try_acquire_many(kib) {
            return self.complete(attempt, PERSIST_FOR, &record).await;
        }
        drop(record);
        match (without_body, unsaved.try_acquire()) {
            (Some(record), Ok(_room)) => self.complete(attempt, PERSIST_FOR, &record).await,
            _ => Err(StoreError::Full("too many responses wait to be stored")),
        }
    }

    /// Ends the claim, then answers; if the store does not take it, answers and goes on trying.
    async fn give_up(&self, what: Free, reply: Reply, replied: Replied) {
        let Page { engine, attempt, .. } = &*self.page;
        let limit = engine.settings.store_timeout;
        let end = || async {
            match what {
                Free::Key => engine.store.release(attempt).await,
                Free::Lease => engine.store.abandon(attempt).await,
            }
        };
        let ended = deadline::repeated(limit, limit, end).await;
        engine.waiters.wake(&attempt.key);
        reply.send(replied);
        if ended.is_ok() {
            return telemetry::ended(self.policy.handler, what.into());
        }
        let ended = match engine.unsaved.try_acquire() {
            Ok(_room) => deadline::repeated(PERSIST_FOR, limit, end).await,
            Err(_) => ended,
        };
        engine.waiters.wake(&attempt.key);
        telemetry::ended(self.policy.handler, ended.map_or(End::Unsaved, |_| what.into()));
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
