//! Runs a handler as an attempt, and decides what its response means for the key.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;

use super::{
    header_names::lines_of,
    response::{
        encode::{Encoded, Recorded, encode},
        late,
        record::Record,
        replay::ReplayRule,
    },
};
use crate::{
    config::{AttemptFuture, policy::Policy, settings::Settings},
    engine::{ActiveAttempt, Later, Outcome, Recordable, Stored},
    problem::{Problem, REPLAYED},
    telemetry::{self, FirstTraceparent},
};

/// The user's handler, without the types of its last argument and its response.
pub(crate) type Handler = AttemptFuture;

/// Runs the handler, and reads as much of its response as is to be stored.
pub(super) async fn run(active: Arc<ActiveAttempt>, handler: Handler, policy: &'static Policy) -> Outcome<Response> {
    let settings = &active.engine.settings;
    let handler = match &settings.wrap_attempt {
        Some(wrap) => wrap(handler),
        None => handler,
    };
    let mut response = handler.await;
    let recorded = response.extensions_mut().remove::<Recorded>();
    if !recorded.as_ref().is_some_and(|recorded| recorded.replayed) {
        // This response is no replay, even if it was copied from another service that marked it as one.
        if lines_of(response.headers(), &REPLAYED).next().is_some() {
            response.headers_mut().remove(REPLAYED);
        }
        response.extensions_mut().remove::<FirstTraceparent>();
    }
    if let Some(Recorded { record, .. }) = recorded {
        return Outcome::Stored(Stored { record, recorded: true, unfinished: false, value: response });
    }
    let rule = ReplayRule::new(policy, response.status(), response.headers(), response.extensions());
    if !rule.stores() {
        return Outcome::Freed(in_own_form(response, settings));
    }
    match encode(response, settings, active.telemetry.trace()).await {
        Ok(Encoded { stored, told, .. }) if !rule.with_status(told).stores() => Outcome::Freed(stored.value),
        Ok(Encoded { mut stored, is_too_large, .. }) => {
            if is_too_large {
                telemetry::too_large(&active.engine.metrics.handler(policy.handler), None, settings.max_response);
            }
            if stored.unfinished {
                // Its trailers are still to come.
                stored.value.extensions_mut().insert(rule);
            }
            Outcome::Stored(stored)
        }
        Err(response) => Outcome::Broken(response),
    }
}

/// A problem that the handler returned, such as that of a `CommitError`, as the service answers its problems.
fn in_own_form(mut response: Response, settings: &Settings) -> Response {
    match response.extensions_mut().remove::<Problem>() {
        Some(problem) => settings.answer(problem),
        None => response,
    }
}

impl Recordable for Response {
    fn without_content(&self) -> Bytes {
        Record::encode_without_body(self.status(), self.headers())
    }

    fn is_success(&self) -> bool {
        self.status().is_success() || self.status().is_redirection()
    }

    fn store_later(self, later: Later) -> Self {
        late::copy_while_sent(self, later)
    }
}
