//! [`DynStore`]: any store behind a pointer, and any operation behind another one.

use std::time::{Duration, SystemTime};

use super::{
    BoxFuture, ClaimRequest, Seen, Store, StoreError, StoreKey,
    run::{Erased, count, run},
};
use crate::{
    protocol::{Operation, Step},
    telemetry::StoreOperation,
};

/// What the engine needs of a store. Every [`Store`] is one; so is what a test puts in front of a store to make single
/// operations fail.
pub trait DynStore: Send + Sync + 'static {
    /// Carries out an operation, which then holds its outcome.
    fn run<'a>(&'a self, operation: AnyOperation<'a>) -> BoxFuture<'a, Result<(), StoreError>>;

    /// [`Store::now`].
    fn clock(&self) -> BoxFuture<'_, Result<SystemTime, StoreError>>;

    /// [`Store::answers_within`].
    fn call_limit(&self) -> Option<Duration> {
        None
    }

    /// [`Store::for_heartbeats`].
    fn beside(&self) -> Option<Box<dyn DynStore>> {
        None
    }

    /// [`Store::is_shared`].
    fn shared(&self) -> bool {
        true
    }
}

impl<S: Store> DynStore for S {
    fn run<'a>(&'a self, operation: AnyOperation<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(run(self, operation.operation))
    }

    fn clock(&self) -> BoxFuture<'_, Result<SystemTime, StoreError>> {
        Box::pin(self.now())
    }

    fn call_limit(&self) -> Option<Duration> {
        self.answers_within()
    }

    fn beside(&self) -> Option<Box<dyn DynStore>> {
        self.for_heartbeats().map(|store| Box::new(store) as Box<dyn DynStore>)
    }

    fn shared(&self) -> bool {
        self.is_shared()
    }
}

/// Carries out an operation, and returns its outcome.
pub(super) async fn carry_out<S, O, T>(store: &S, kind: StoreOperation, operation: O) -> Result<T, StoreError>
where
    S: DynStore + ?Sized,
    O: Operation + Send,
    O::Outcome: Into<T> + Send,
{
    let mut held = Held { operation, outcome: None };
    store.run(AnyOperation { kind, operation: &mut held }).await?;
    // An operation that was carried out has an outcome, unless a test's store has only said so.
    held.outcome.map(Into::into).ok_or(StoreError::Timeout)
}

/// An operation behind a pointer.
#[allow(missing_debug_implementations)] // it may hold a response
pub struct AnyOperation<'a> {
    kind: StoreOperation,
    operation: &'a mut dyn Erased,
}

impl AnyOperation<'_> {
    /// Which operation it is.
    #[must_use]
    pub fn kind(&self) -> StoreOperation {
        self.kind
    }

    /// The request of a claim.
    #[must_use]
    pub fn claims(&self) -> Option<&ClaimRequest> {
        self.operation.claims()
    }
}

/// An operation, and its outcome once it has one.
pub(super) struct Held<O: Operation> {
    pub(super) operation: O,
    pub(super) outcome: Option<O::Outcome>,
}

impl<O: Operation> Held<O> {
    fn keep(&mut self, step: Step<O::Outcome>) -> Step<()> {
        match step {
            Step::Read => Step::Read,
            Step::Clock => Step::Clock,
            Step::Swap(expect, put) => Step::Swap(expect, put),
            Step::Answer(answer) => Step::Answer(answer.map(|outcome| self.outcome = Some(outcome))),
        }
    }
}

impl<O: Operation + Send> Erased for Held<O>
where
    O::Outcome: Send,
{
    fn key(&self) -> &StoreKey {
        self.operation.key()
    }

    fn claims(&self) -> Option<&ClaimRequest> {
        self.operation.claims()
    }

    fn begin(&mut self) -> Step<()> {
        let step = self.operation.begin(count);
        self.keep(step)
    }

    fn met(&mut self, seen: Seen, refused: Option<StoreError>) -> Step<()> {
        let step = self.operation.met(seen, refused, count);
        self.keep(step)
    }

    fn written(&mut self, fence: u64) -> Step<()> {
        let step = self.operation.written(fence);
        self.keep(step)
    }

    fn clock(&mut self, now: SystemTime) -> Step<()> {
        let step = self.operation.clock(now, count);
        self.keep(step)
    }
}
