//! Runs an attempt that has its key: runs the handler, stores the response, answers.

use std::{
    future::{Future as _, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use axum::response::Response;
use bytes::Bytes;

use super::{
    Admission, Handler, Replied,
    attempt::ActiveAttempt,
    deadline::{self, Patience},
    ending,
    heartbeat::Heartbeat,
    in_place::Attempting,
    outcome::{Outcome, produce},
    release::GivenUp,
    store_behind::{self, Unsaved},
    store_late::copy_while_sent,
};
use crate::{
    http::response::{encode::StorableResponse, record::Record},
    store::{ClaimRequest, CompleteOutcome},
};

/// The whole attempt as one future. This is a plain function, because an `async fn` would keep a second copy of the
/// values that it moves into the box.
pub(super) fn attempting(active: Arc<ActiveAttempt>, handler: Handler, admission: Admission) -> Attempting {
    Box::pin(async move {
        let heartbeat = active.held.is_some().then(|| active.engine.heartbeats.keep(&active));
        let (outcome, attempt) = run(&active, handler).await;
        let replied = match outcome {
            Outcome::Storable(storable) => store_and_answer(&active, attempt, storable, heartbeat).await,
            Outcome::Freed(response) => give_up(&active, GivenUp::Key, heartbeat, Ok(response)).await,
            Outcome::Broken(response) => give_up(&active, GivenUp::Lease, heartbeat, Ok(response)).await,
            Outcome::Panicked(panic) => give_up(&active, GivenUp::Lease, heartbeat, Err(panic)).await,
        };
        drop(admission);
        replied
    })
}

/// Runs the handler and reads its response. Also returns the claim to store it under, if that differs from the
/// attempt's own: the journal may have the row of an earlier attempt.
async fn run(active: &ActiveAttempt, handler: Handler) -> (Outcome, Option<ClaimRequest>) {
    let settings = &active.engine.settings;
    let outcome = {
        let mut work = pin!(async {
            let handler = match &settings.wrap_attempt {
                Some(wrap) => wrap(handler),
                None => handler,
            };
            produce(handler, active.policy.replay, settings).await
        });
        // A panic of the handler, or of a body that it returned, ends only this attempt.
        poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(polled) => polled,
            Err(panic) => Poll::Ready(Outcome::Panicked(panic)),
        })
        .await
    };
    active.end();
    match &active.engine.journal {
        None => (outcome, None),
        Some(journal) => {
            let (outcome, row) = Box::pin(active.decide_with_journal(&**journal, outcome)).await;
            (outcome, row.map(|row| row.terms(&active.attempt)))
        }
    }
}

/// Stores the response, then sends it. If the store does not take it, sends the response and stores it in the
/// background.
async fn store_and_answer(
    active: &Arc<ActiveAttempt>,
    attempt: Option<ClaimRequest>,
    storable: StorableResponse,
    heartbeat: Option<Heartbeat>,
) -> Replied {
    let StorableResponse { record, recorded, unfinished, response } = storable;
    let terms = attempt.as_ref().unwrap_or(&active.attempt);
    let timeout = active.engine.settings.store_timeout;
    let call = || active.engine.store.complete(terms, active.fence(), record.clone());
    let completed = if recorded && active.engine.journal.as_ref().is_some_and(|journal| journal.is_the_store()) {
        Ok(CompleteOutcome::AlreadyStored)
    } else {
        deadline::repeated(timeout, timeout, Patience::ClientWaits, call).await
    };
    let copied = unfinished && !matches!(completed, Ok(CompleteOutcome::Lost));
    let late = copied.then(|| (terms.clone(), completed.is_ok()));
    match completed {
        Ok(completed) => {
            ending::completed(active, completed);
            drop(heartbeat);
        }
        Err(error) => {
            // The journal has the response, so it cannot be lost. No shorter record is needed.
            let without_body = if recorded { None } else { without_body(&response) };
            let unsaved = Unsaved { attempt: terms.clone(), record, without_body, heartbeat };
            store_behind::store(active, unsaved, &error);
        }
    }
    Ok(match late {
        Some((attempt, stored)) => copy_while_sent(active, attempt, stored, response),
        None => response,
    })
}

/// The record that is stored when there is no room for the whole response.
fn without_body(response: &Response) -> Option<Bytes> {
    Record::encode_without_body(response.status(), response.headers()).ok()
}

/// Gives up the claim, then sends the response. If the store does not take it, sends the response and goes on in the
/// background.
async fn give_up(
    active: &Arc<ActiveAttempt>,
    what: GivenUp,
    heartbeat: Option<Heartbeat>,
    replied: Replied,
) -> Replied {
    if let Some(heartbeat) = heartbeat {
        heartbeat.stop().await;
    }
    let timeout = active.engine.settings.store_timeout;
    let what = if active.steps.any() { GivenUp::Lease } else { what };
    if active.steps.has_unsaved() {
        // The next attempt needs the steps. An error is ignored: if the store takes no steps now, giving up the claim
        // fails too and is repeated in the background.
        let _ = Box::pin(active.save_steps()).await;
    }
    let ended =
        deadline::repeated(timeout, timeout, Patience::ClientWaits, || what.end(&active.engine, &active.attempt)).await;
    match ended {
        Ok(_) => ending::gave_up(active, what),
        Err(error) => store_behind::give_up(active, what, &error),
    }
    replied
}
