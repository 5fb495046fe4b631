//! [`Protected`]: a handler's call that has not begun.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::response::Response;

use crate::{
    config::policy::Policy,
    engine::{self, CapturedRequest},
};

/// A handler's future, to be run under a claim when it is polled.
///
/// The bound on `F` is on the future and not where it is made: so it is checked where a router takes the handler, as
/// axum does it, and a generic handler needs no bound that cannot be written.
#[must_use = "a handler does nothing until it is awaited"]
pub struct Protected<F>(State<F>);

enum State<F> {
    Ready(CapturedRequest, &'static Policy, F),
    Running(Pin<Box<dyn Future<Output = Response> + Send>>),
    /// Only while the state changes.
    Moved,
}

impl<F> Protected<F> {
    pub(super) fn new(request: CapturedRequest, policy: &'static Policy, handler: F) -> Self {
        Self(State::Ready(request, policy, handler))
    }
}

// `F` is moved out before it is polled, and never pinned in place.
impl<F> Unpin for Protected<F> {}

impl<F> Future for Protected<F>
where
    F: Future<Output = Response> + Send + 'static,
{
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        if let State::Ready(..) = self.0
            && let State::Ready(request, policy, handler) = std::mem::replace(&mut self.0, State::Moved)
        {
            self.0 = State::Running(engine::protect(request, policy, Box::pin(handler)));
        }
        match &mut self.0 {
            State::Running(running) => running.as_mut().poll(context),
            State::Ready(..) | State::Moved => Poll::Pending,
        }
    }
}
