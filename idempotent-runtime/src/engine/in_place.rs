//! Runs an attempt inside its request, and moves it to a task when the request is dropped.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tracing::{Instrument, Span};

use super::Replied;

/// The whole of an attempt: its handler, the storing of its response, and its answer.
pub(super) type Attempting = Pin<Box<dyn Future<Output = Replied> + Send>>;

/// An attempt that its request polls. A client that hangs up, or a time-out in an outer layer, drops the request: the
/// rest of the attempt then goes on in a task.
pub(super) struct InPlace {
    /// There until the attempt has ended.
    attempt: Option<Attempting>,
    span: Span,
}

impl InPlace {
    pub(super) fn new(attempt: Attempting, span: Span) -> Self {
        Self { attempt: Some(attempt), span }
    }
}

impl Future for InPlace {
    type Output = Replied;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Replied> {
        let Some(attempt) = &mut self.attempt else { return Poll::Pending };
        let polled = attempt.as_mut().poll(context);
        if polled.is_ready() {
            self.attempt = None;
        }
        polled
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        let Some(rest) = self.attempt.take() else { return };
        // Without a runtime, at its end, the attempt stops like one whose process was killed.
        if let Ok(runtime) = Handle::try_current() {
            // Nobody waits for the answer; a retry finds what was stored.
            runtime.spawn(async move { drop(rest.await) }.instrument(self.span.clone()));
        }
    }
}
