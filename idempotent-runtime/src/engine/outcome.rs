//! Runs the handler, and decides what its response means for the key.

use std::any::Any;

use axum::{http::header::RETRY_AFTER, response::Response};

use super::Handler;
use crate::{
    config::{policy::ReplayPolicy, settings::Settings},
    error_chain::chain,
    http::response::{
        encode::{Recorded, StorableResponse, encode},
        replay::{REPLAYED, Replay},
    },
    telemetry::limited,
};

/// What a handler's run means for the key.
pub(crate) enum Outcome {
    /// The response is stored and replayed.
    Storable(StorableResponse),
    /// The response is sent and the key is freed.
    Freed(Response),
    /// The body of the response failed, or the response cannot be stored. It is not known whether the client received
    /// it.
    Broken(Response),
    /// The handler panicked, so there is no response.
    Panicked(Box<dyn Any + Send>),
}

/// Runs the handler, and reads as much of its response as is to be stored.
pub(crate) async fn produce(handler: Handler, policy: ReplayPolicy, settings: &Settings) -> Outcome {
    let mut response = handler.await;
    if let Some(Recorded(record)) = response.extensions_mut().remove() {
        return Outcome::Storable(StorableResponse { record, recorded: true, unfinished: false, response });
    }
    // This response is no replay, even if it was copied from another service that marked it as one.
    response.headers_mut().remove(REPLAYED);
    let (status, pauses) = (response.status(), response.headers().contains_key(RETRY_AFTER));
    if !policy.is_stored(status, pauses, response.extensions().get::<Replay>().copied()) {
        return Outcome::Freed(response);
    }
    match encode(response, settings).await {
        Ok(storable) => Outcome::Storable(storable),
        Err((response, error)) => {
            if let Some(error) = error {
                limited!(error, error = %chain(&error), "a response cannot be encoded");
            }
            Outcome::Broken(response)
        }
    }
}
