//! Runs an operation: gives the engine its request, and makes an outcome of the engine's answer.

use std::{
    convert::Infallible,
    future::{Future, pending},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::{
    Operation, Outcome, RunError,
    value::{self, Returned},
};
use crate::{
    claim::Claim,
    engine::{self, Admission, Answer, ClaimCell, Engine, Execution, Refused, Reply, Request},
    http::request::{identify::of_operation, key::Key},
    problem::ProblemKind,
    telemetry::{self, RequestTelemetry},
};

impl Operation<'_> {
    /// Claims the key, runs the effect under the claim, and stores its result. If it ran earlier, returns the stored
    /// result instead.
    ///
    /// An effect that returns `Err` frees the key. An effect that panics, or whose process dies, leaves a claim that the
    /// next attempt takes over when the lease has ended; [`Claim::recovering`] is then true. Everything that a handler can
    /// do with its [`Claim`] works here too: steps, derived keys, [`Claim::lost`], a commit in the caller's own transaction
    /// by [`Claim::commit_value`].
    ///
    /// # Errors
    /// The effect's own error, or the reason why it did not run.
    pub async fn run<T, E, F, Fut>(self, effect: F) -> Result<Outcome<T>, RunError<E>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + 'static,
        F: FnOnce(Claim) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let engine = Arc::clone(self.idempotency.engine());
        let cell = Arc::<ClaimCell>::default();
        let claim = Claim::new(Arc::clone(&cell));
        if engine.settings.disabled {
            return effect(claim).await.map(Outcome::Ran).map_err(RunError::Effect);
        }
        let (caller, caller_gone) = oneshot::channel();
        let caller_gone = self.cancelled_with_caller.then_some(caller_gone);
        let (request, reported) = self.request(&engine)?;
        let admission = Admission::ask(&engine, 0).map_err(|_| {
            telemetry::refused_early(&engine.settings.namespace, ProblemKind::TooManyInFlight.slug(), "");
            RunError::TooManyInFlight
        })?;
        let span = reported.span().clone();
        let limit = engine.settings.max_response;
        let work = move |_| async move {
            tokio::select! {
                biased;
                returned = effect(claim) => value::outcome(returned, limit),
                () = wait(caller_gone) => engine::Outcome::Broken(Returned::Nothing),
            }
        };
        let execution = Box::new(Execution { engine, request, cell, admission, telemetry: reported.clone(), work });
        let answer = execution.execute().instrument(span).await;
        drop(caller);
        outcome(answer, &reported)
    }

    /// What the engine must know of it.
    fn request<E>(self, engine: &Engine) -> Result<(Request, RequestTelemetry), RunError<E>> {
        let Self { name, key, scope, fingerprint, terms, redelivered_after, .. } = self;
        let terms = terms.in_range();
        if key.trim().is_empty() {
            return Err(RunError::KeyEmpty);
        }
        let key = Key::from_value(&key).map_err(|_| RunError::KeyNil)?;
        if let Some(redelivered_after) = redelivered_after.filter(|&time| terms.lease >= time) {
            return Err(RunError::LeaseTooLong { lease: terms.lease, redelivered_after });
        }
        let fingerprint = fingerprint.map_err(|error| RunError::Fingerprint(error.into()))?;
        let (stored_name, fingerprint) =
            of_operation(&engine.settings, name, scope.as_deref(), key.as_str(), fingerprint.as_ref());
        let request = engine.request(name, (key.into_parts().0, None), stored_name, fingerprint, terms);
        Ok((request, RequestTelemetry::new(engine.metrics.handler(name), None)))
    }
}

/// Resolves when the caller of an operation that stops with it is gone.
async fn wait(caller_gone: Option<oneshot::Receiver<Infallible>>) {
    match caller_gone {
        Some(gone) => drop(gone.await),
        None => pending().await,
    }
}

fn outcome<T, E>(answer: Answer<Returned<T, E>>, telemetry: &RequestTelemetry) -> Result<Outcome<T>, RunError<E>>
where
    T: DeserializeOwned,
{
    match answer {
        Answer::Ran(Reply::Value(Returned::Value(value))) => Ok(Outcome::Ran(value)),
        Answer::Ran(Reply::Value(Returned::Error(error))) => Err(RunError::Effect(error)),
        // The caller is gone, so nobody gets this.
        Answer::Ran(Reply::Value(Returned::Nothing)) => Ok(Outcome::Died),
        Answer::Ran(Reply::Committed(record)) => replay(&record, Outcome::Ran),
        Answer::Ran(Reply::Replayed(record)) => replay(&record, Outcome::Replayed),
        Answer::Replayed(record) => {
            let found = replay(&record, Outcome::Replayed);
            match found {
                Ok(_) => telemetry.replayed(None),
                Err(_) => report(telemetry, ProblemKind::RecordUnreadable),
            }
            found
        }
        Answer::Refused(refused) => {
            let (outcome, kind) = refusal(refused);
            report(telemetry, kind);
            outcome
        }
        // It counts by how its attempt ended.
        Answer::Ran(Reply::Refused(refused)) => refusal(refused).0,
    }
}

/// What a refusal means for the caller, and the problem that a request would get.
fn refusal<T, E>(refused: Refused) -> (Result<Outcome<T>, RunError<E>>, ProblemKind) {
    match refused {
        Refused::Running { left } => (Ok(Outcome::Running { left }), ProblemKind::InFlight),
        // Without a time stamp no key is too old or too new.
        Refused::Died | Refused::Expired | Refused::FromTheFuture => (Ok(Outcome::Died), ProblemKind::OutcomeUnknown),
        Refused::OtherRequest => (Ok(Outcome::KeyReused), ProblemKind::KeyReused),
        Refused::Unreadable => (Err(RunError::Unreadable), ProblemKind::RecordUnreadable),
        Refused::StoreFull => (Err(RunError::StoreFull), ProblemKind::StoreFull),
        Refused::StoreUnavailable => (Err(RunError::StoreUnavailable), ProblemKind::StoreUnavailable),
        Refused::JournalUnavailable => (Err(RunError::StoreUnavailable), ProblemKind::JournalUnavailable),
    }
}

/// Metrics and spans have the same words for operations as for requests.
fn report(telemetry: &RequestTelemetry, kind: ProblemKind) {
    telemetry.refused(kind as usize, kind.slug(), "");
}

fn replay<T, E>(record: &Bytes, found: impl FnOnce(T) -> Outcome<T>) -> Result<Outcome<T>, RunError<E>>
where
    T: DeserializeOwned,
{
    Ok(value::decode(record)?.map_or(Outcome::RanWithoutValue, found))
}
