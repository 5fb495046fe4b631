//! What became of a handler: its response, read and encoded, or why there is none to store.

use std::any::Any;

use axum::{http::header::RETRY_AFTER, response::Response};

use super::Handler;
use crate::{
    config::{policy::ReplayPolicy, settings::Settings},
    error_chain::chain,
    response::{
        encode::{Recorded, Settled, encode},
        replay::{REPLAYED, Replay},
    },
};

/// What became of a handler.
pub(crate) enum Outcome {
    /// The response settles the key.
    Settled(Settled),
    /// The response frees the key.
    Freed(Response),
    /// The response broke off, or cannot be stored at all: the client may or may not have got it.
    Broken(Response),
    /// There is no response.
    Panicked(Box<dyn Any + Send>),
}

/// Runs the handler, and reads its response as far as it is to be stored.
pub(crate) async fn produce(handler: Handler, policy: ReplayPolicy, settings: &Settings) -> Outcome {
    let mut response = handler.await;
    if let Some(Recorded(record)) = response.extensions_mut().remove() {
        return Outcome::Settled(Settled { record, recorded: true, unfinished: false, response });
    }
    // This is a first answer, whatever a service upstream has said of its own.
    response.headers_mut().remove(REPLAYED);
    let (status, pauses) = (response.status(), response.headers().contains_key(RETRY_AFTER));
    if !policy.settles(status, pauses, response.extensions().get::<Replay>().copied()) {
        return Outcome::Freed(response);
    }
    match encode(response, settings).await {
        Ok(settled) => Outcome::Settled(settled),
        Err((response, error)) => {
            if let Some(error) = error {
                tracing::error!(error = %chain(&error), "a response cannot be encoded");
            }
            Outcome::Broken(response)
        }
    }
}
