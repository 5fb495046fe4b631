//! [`Protected`]: a call of a handler that has not begun.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::response::Response;

use crate::{
    config::policy::Policy,
    http::protect::{CapturedRequest, protect},
};

/// The future of a protected handler. When it is polled, the key is claimed and the handler runs.
///
/// The `Send` bound on `F` is on the `Future` impl and not on the constructor. So it is checked where a router takes
/// the handler, as axum does it. A generic handler therefore needs no bound that its author could not write.
#[must_use = "a handler does nothing until it is awaited"]
pub struct Protected<F>(State<F>);

enum State<F> {
    Ready(CapturedRequest, &'static Policy, F),
    Running(Pin<Box<dyn Future<Output = Response> + Send>>),
    /// A placeholder while the state changes.
    Moved,
}

impl<F> Protected<F> {
    pub(super) fn new(request: CapturedRequest, policy: &'static Policy, handler: F) -> Self {
        Self(State::Ready(request, policy, handler))
    }
}

// `F` is moved into a box before it is polled, so it is never pinned inside this type.
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
            self.0 = State::Running(protect(request, policy, Box::pin(handler)));
        }
        match &mut self.0 {
            State::Running(running) => running.as_mut().poll(context),
            State::Ready(..) | State::Moved => Poll::Pending,
        }
    }
}
