//! Stores the whole of a response whose body was not complete when its attempt ended.

use std::{sync::Arc, time::Duration};

use axum::{http::response::Parts, response::Response};
use tokio::time::timeout;

use super::{
    copying::{Copied, Keep, Rest, copy},
    encode::{body_limit, without_wrong_length},
    grpc,
    record::Record,
    replay::ReplayRule,
};
use crate::engine::Later;

/// How long the rest of a response is read after its client has hung up.
const REST: Duration = Duration::from_secs(10);

/// Copies a response while it is sent. When the body has ended, the copy replaces the record without a body.
pub(in crate::http) fn copy_while_sent(response: Response, later: Later) -> Response {
    let (parts, body) = response.into_parts();
    let engine = Arc::clone(&later.active.engine);
    let Some(limit) = body_limit(&parts.headers, &engine.settings) else { return Response::from_parts(parts, body) };
    let late = Late { later, parts: parts.clone() };
    let body = copy(body, limit, engine.copies.reservation(), late);
    Response::from_parts(parts, body)
}

/// A response that is stored after it was sent.
struct Late {
    later: Later,
    parts: Parts,
}

impl Keep for Late {
    fn whole(self, copied: Copied) {
        let Self { later, parts } = self;
        later.spawn(async move |later| store(&later, parts, copied).await);
    }

    fn too_large(self) {
        self.later.active.too_large();
    }

    fn dropped(self, rest: Rest) {
        let Self { later, parts } = self;
        later.spawn(async move |later| {
            if let Ok(Some(copied)) = timeout(REST, rest.read()).await {
                store(&later, parts, copied).await;
            }
        });
    }
}

async fn store(later: &Later, mut parts: Parts, copied: Copied) {
    let Copied { bytes, trailers, held } = copied;
    if !without_wrong_length(&mut parts, bytes.len()) {
        return;
    }
    let told = trailers.as_ref().and_then(grpc::http_status);
    if parts.extensions.get::<ReplayRule>().is_some_and(|rule| !rule.with_status(told).stores()) {
        // The record without a body is stored already, so the key cannot be freed. A retry gets `not-replayable`.
        return;
    }
    let never = &later.active.engine.settings.never_replay;
    let trace = later.active.telemetry.trace();
    let record = Record::encode_whole(parts.status, &parts.headers, &bytes, trailers.as_ref(), never, trace);
    drop(bytes);
    later.store(&record).await;
    drop(held);
}
