//! The route of a request, with the values of its path. Pure.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::extract::{FromRequestParts, MatchedPath, OriginalUri, RawPathParams, Request};

/// Where a router has sent a request.
pub(crate) enum RequestRoute {
    /// The router's pattern, and the values of its parameters if it has any.
    Matched(MatchedPath, Option<RawPathParams>),
    /// The path, if no pattern matched it.
    Path(Box<str>),
}

impl RequestRoute {
    pub(super) fn from_request(request: &mut Request) -> Self {
        let extensions = request.extensions();
        match extensions.get::<MatchedPath>().cloned() {
            Some(pattern) => {
                let values = if pattern.as_str().contains('{') { values(request) } else { None };
                Self::Matched(pattern, values)
            }
            None => Self::Path(extensions.get().map_or(request.uri(), |OriginalUri(uri)| uri).path().into()),
        }
    }

    pub(super) fn is_matched(&self) -> bool {
        matches!(self, Self::Matched(..))
    }

    /// The values of the parameters, in the pattern's order. They are not always in the original path: an outer service may
    /// have written them into it.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        let values = if let Self::Matched(_, values) = self { values.as_ref() } else { None };
        values.into_iter().flatten().map(|(_, value)| value)
    }
}

/// axum shows the values by an extractor only. It waits for nothing.
fn values(request: &mut Request) -> Option<RawPathParams> {
    let (mut parts, body) = std::mem::take(request).into_parts();
    let extracted = {
        let extracting = pin!(RawPathParams::from_request_parts(&mut parts, &()));
        extracting.poll(&mut Context::from_waker(Waker::noop()))
    };
    *request = Request::from_parts(parts, body);
    if let Poll::Ready(Ok(values)) = extracted { Some(values) } else { None }
}
