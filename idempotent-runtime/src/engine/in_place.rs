//! Runs an attempt inside its request, and moves it to a task of its own when the request is dropped.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tracing::{Instrument, Span};

use super::Replied;

/// A whole attempt: running the handler, storing the response, answering.
pub(super) type Attempting = Pin<Box<dyn Future<Output = Replied> + Send>>;

/// An attempt that its request polls. If the request is dropped, because the client hung up or an outer layer timed
/// out, the rest of the attempt runs in a task.
pub(super) struct InPlace {
    /// `None` after the attempt has ended.
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
        // While the tokio runtime shuts down, no task can be started. The attempt then stops as if its process had been
        // killed.
        if let Ok(runtime) = Handle::try_current() {
            // Nobody waits for the answer any more. A retry gets the stored response.
            runtime.spawn(async move { drop(rest.await) }.instrument(self.span.clone()));
        }
    }
}
