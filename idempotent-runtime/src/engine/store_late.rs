//! Stores the whole of a response whose body was not complete when its attempt ended.

use std::{sync::Arc, time::Duration};

use axum::{http::response::Parts, response::Response};
use tokio::{runtime::Handle, time::timeout};
use tracing::Instrument as _;

use super::{
    attempt::ActiveAttempt,
    deadline::{self, Patience},
    store_behind::PERSIST_FOR,
};
use crate::{
    error_chain::chain,
    http::response::{
        copying::{Copied, Keep, Rest, copy},
        encode::{announced, body_limit},
        record::Record,
    },
    store::{ClaimRequest, CompleteOutcome, StoreError},
    telemetry::limited,
};

/// How long the rest of a response is read after its client has hung up.
const REST: Duration = Duration::from_secs(10);

/// Copies a response while it is sent. When the body has ended, the copy replaces the record without a body.
///
/// `stored`: whether the record without a body is stored, or is being stored.
pub(super) fn copy_while_sent(
    active: &Arc<ActiveAttempt>,
    attempt: ClaimRequest,
    stored: bool,
    response: Response,
) -> Response {
    let (parts, body) = response.into_parts();
    let engine = &active.engine;
    let Some(limit) = body_limit(&parts.headers, &engine.settings) else { return Response::from_parts(parts, body) };
    let late = Late { active: Arc::clone(active), attempt, stored, parts: parts.clone() };
    let body = copy(body, limit, engine.copies.reservation(), late);
    Response::from_parts(parts, body)
}

/// A response that is stored after it was sent.
struct Late {
    active: Arc<ActiveAttempt>,
    attempt: ClaimRequest,
    stored: bool,
    parts: Parts,
}

impl Keep for Late {
    fn whole(self, copied: Copied) {
        self.spawn(async move |late| late.store(copied).await);
    }

    fn dropped(self, rest: Rest) {
        self.spawn(async move |late| {
            if let Ok(Some(copied)) = timeout(REST, rest.read()).await {
                late.store(copied).await;
            }
        });
    }
}

impl Late {
    fn spawn<F>(self, work: impl FnOnce(Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // While the tokio runtime shuts down, nothing can be stored any more.
        let Ok(runtime) = Handle::try_current() else { return };
        let background = self.active.engine.load.background();
        let span = self.active.telemetry.span().clone();
        let work = work(self);
        let counted = async move {
            work.await;
            drop(background);
        };
        runtime.spawn(counted.instrument(span));
    }

    async fn store(self, copied: Copied) {
        let Self { active, parts, .. } = &self;
        let Copied { bytes, trailers, held } = copied;
        if announced(parts).is_some_and(|length| length != bytes.len() as u64) {
            return;
        }
        let never = &active.engine.settings.never_replay;
        let record = match Record::encode_whole(parts.status, &parts.headers, &bytes, trailers.as_ref(), never) {
            Ok(record) => record,
            Err(error) => return limited!(error, error = %chain(&error), "a response cannot be encoded"),
        };
        drop(bytes);
        match self.persist(&record).await {
            Ok(CompleteOutcome::Lost) => {
                tracing::debug!("a response is stored without its body: another attempt has the key");
            }
            Ok(_) => tracing::debug!("a response is stored with its body"),
            Err(error) => limited!(warn, error = %chain(&error), "a response is stored without its body"),
        }
        drop(held);
    }

    async fn persist(&self, record: &bytes::Bytes) -> Result<CompleteOutcome, StoreError> {
        let engine = &self.active.engine;
        let (attempt, fence, each) = (&self.attempt, self.active.fence(), engine.settings.store_timeout);
        if !self.stored {
            let complete = || engine.store.complete(attempt, fence, record.clone());
            let completed = deadline::repeated(PERSIST_FOR, each, Patience::InBackground, complete).await?;
            if completed != CompleteOutcome::AlreadyStored {
                return Ok(completed);
            }
        }
        let replace = || engine.store.replace(attempt, fence, record.clone());
        deadline::repeated(PERSIST_FOR, each, Patience::InBackground, replace).await
    }
}
