//! What became of a handler: its response, read and encoded, or why there is none to store.

use std::any::Any;

use axum::response::Response;

use super::Handler;
use crate::{
    config::policy::ReplayPolicy,
    error_chain::chain,
    response::{
        encode::{Recorded, Settled, encode},
        replay::Replay,
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
pub(crate) async fn produce(handler: Handler, policy: ReplayPolicy, limit: usize) -> Outcome {
    let mut response = handler.await;
    if let Some(Recorded(record)) = response.extensions_mut().remove() {
        return Outcome::Settled(Settled { record, recorded: true, response });
    }
    if !policy.settles(response.status(), response.extensions().get::<Replay>().copied()) {
        return Outcome::Freed(response);
    }
    match encode(response, limit).await {
        Ok(settled) => Outcome::Settled(settled),
        Err((response, error)) => {
            if let Some(error) = error {
                tracing::error!(error = %chain(&error), "a response cannot be encoded");
            }
            Outcome::Broken(response)
        }
    }
}
