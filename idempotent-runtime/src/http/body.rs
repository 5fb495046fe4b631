//! Reads a response's body within limits. Afterwards the body can be read again from its start.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, HttpBody},
    http::HeaderMap,
};
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

/// The result of reading a body. In each case, `body` is the whole body for the next reader.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) body: Body,
    pub(crate) found: BodyRead,
}

#[derive(Debug)]
pub(crate) enum BodyRead {
    /// The body was read to its end.
    Whole { bytes: Bytes, trailers: Option<HeaderMap> },
    /// The body is larger than the limit.
    TooLarge,
    /// The body did not end in time.
    Unfinished,
    /// The body failed with an error. The next reader gets the same bytes and the same error.
    Broken,
}

/// The body is shorter than was announced.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body is shorter than its Content-Length")]
struct TooShort;

/// The limits for reading a body.
pub(crate) struct Terms {
    /// The greatest number of bytes to read.
    pub(crate) limit: usize,
    /// The length by the `Content-Length` header, if the body itself does not state one.
    pub(crate) announced: Option<u64>,
    /// How long to wait for the end of the body.
    pub(crate) patience: Duration,
}

/// The exact length of a body, if the body states it.
pub(crate) fn length(body: &Body) -> Option<u64> {
    body.size_hint().exact()
}

/// Reads a body to its end, within the limits.
pub(crate) async fn read(mut body: Body, terms: Terms) -> Reading {
    let hint = body.size_hint();
    if terms.announced.unwrap_or(hint.lower()).max(hint.lower()) > terms.limit as u64 {
        return Reading { body, found: BodyRead::TooLarge };
    }
    let mut deadline = None;
    let mut read = Joiner::new(hint.exact().or(terms.announced));
    let (trailers, found) = loop {
        let Some(frame) = next_frame(&mut body, &mut deadline, terms.patience).await else {
            return Reading { body: Rejoined::body(read.into_bytes(), Rest::More(body)), found: BodyRead::Unfinished };
        };
        match frame.map(|frame| frame.map(Frame::into_data)) {
            None => break (None, None),
            Some(Err(error)) => break (None, Some(error.into_inner())),
            // Trailers are the last frame of a body.
            Some(Ok(Err(frame))) => break (frame.into_trailers().ok(), None),
            Some(Ok(Ok(data))) => {
                read.push(data);
                if read.len() > terms.limit {
                    let body = Rejoined::body(read.into_bytes(), Rest::More(body));
                    return Reading { body, found: BodyRead::TooLarge };
                }
            }
        }
    };
    let bytes = read.into_bytes();
    let short = terms.announced.is_some_and(|announced| announced > bytes.len() as u64);
    match found.or_else(|| short.then(|| TooShort.into())) {
        Some(error) => Reading { body: Rejoined::body(bytes, Rest::Failed(Some(error))), found: BodyRead::Broken },
        None => Reading { body: whole(bytes.clone(), trailers.clone()), found: BodyRead::Whole { bytes, trailers } },
    }
}

/// The next frame; `None` if it does not come in time. A frame that is ready needs no timer and no clock.
async fn next_frame(
    body: &mut Body,
    deadline: &mut Option<Instant>,
    patience: Duration,
) -> Option<Option<Result<Frame<Bytes>, axum::Error>>> {
    match poll_fn(|context| Poll::Ready(Pin::new(&mut *body).poll_frame(context))).await {
        Poll::Ready(frame) => Some(frame),
        Poll::Pending => {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience);
            // Boxed, because a timer is large and most bodies need none.
            Box::pin(timeout_at(deadline, body.frame())).await.ok()
        }
    }
}

/// Joins chunks. A single chunk, the common case, is not copied.
struct Joiner {
    first: Bytes,
    rest: BytesMut,
    expected: usize,
}

impl Joiner {
    fn new(expected: Option<u64>) -> Self {
        let expected = expected.and_then(|bytes| bytes.try_into().ok()).unwrap_or(0);
        Self { first: Bytes::new(), rest: BytesMut::new(), expected }
    }

    fn push(&mut self, chunk: Bytes) {
        if self.len() == 0 {
            self.first = chunk;
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(self.expected.max(self.first.len() + chunk.len()));
            self.rest.extend_from_slice(&self.first);
        }
        self.rest.extend_from_slice(&chunk);
    }

    fn len(&self) -> usize {
        self.first.len().max(self.rest.len())
    }

    fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// A body of known bytes, with trailers or without.
pub(crate) fn whole(bytes: Bytes, trailers: Option<HeaderMap>) -> Body {
    match trailers {
        None => Body::from(bytes),
        Some(trailers) => Rejoined::body(bytes, Rest::Trailers(Some(trailers))),
    }
}

/// The bytes that were already read, followed by the rest of the body.
struct Rejoined {
    head: Bytes,
    rest: Rest,
}

enum Rest {
    More(Body),
    Failed(Option<BoxError>),
    Trailers(Option<HeaderMap>),
}

impl Rejoined {
    fn body(head: Bytes, rest: Rest) -> Body {
        Body::new(Self { head, rest })
    }
}

// `axum::body::Body` wraps each error once more, and axum looks for its length-limit error at a fixed depth. So one
// wrapper is removed here.
impl HttpBody for Rejoined {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.head.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.head)))));
        }
        match &mut self.rest {
            Rest::More(body) => Pin::new(body).poll_frame(context).map_err(axum::Error::into_inner),
            Rest::Failed(error) => Poll::Ready(error.take().map(Err)),
            Rest::Trailers(trailers) => Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_empty()
            && match &self.rest {
                Rest::More(body) => body.is_end_stream(),
                Rest::Failed(error) => error.is_none(),
                Rest::Trailers(trailers) => trailers.is_none(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let head = self.head.len() as u64;
        match &self.rest {
            Rest::More(body) => {
                let rest = body.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(head));
                if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(head)) {
                    hint.set_upper(upper);
                }
                hint
            }
            // If the body failed, it is not known how much is missing. With trailers, no exact length may be stated,
            // because HTTP/1.1 sends trailers only with a chunked body.
            Rest::Failed(Some(_)) | Rest::Trailers(Some(_)) => at_least(head),
            Rest::Failed(None) | Rest::Trailers(None) => SizeHint::with_exact(head),
        }
    }
}

fn at_least(bytes: u64) -> SizeHint {
    let mut hint = SizeHint::new();
    hint.set_lower(bytes);
    hint
}
