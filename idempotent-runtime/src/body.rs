//! Reading a response's body within limits, and putting it back together for whoever reads it next.

use std::{
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

/// How long a response of unknown length is read before it is taken for endless.
pub(crate) const RESPONSE_PATIENCE: Duration = Duration::from_millis(250);

/// What reading a body came to. In each case `body` is the whole body for the next reader.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) body: Body,
    pub(crate) found: Found,
}

#[derive(Debug)]
pub(crate) enum Found {
    /// All of it.
    Whole { bytes: Bytes, trailers: Option<HeaderMap> },
    /// More than the limit, or no end in time.
    Endless,
    /// It broke off; the next reader meets the same error after the same bytes.
    Broken,
}

/// Reads a body up to `limit` bytes. A known length is read to its end, an unknown one for `patience` at the most.
pub(crate) async fn read(mut body: Body, limit: usize, patience: Option<Duration>) -> Reading {
    let hint = body.size_hint();
    if hint.lower() > limit as u64 {
        return Reading { body, found: Found::Endless };
    }
    let deadline = patience.filter(|_| hint.exact().is_none()).map(|patience| Instant::now() + patience);
    let mut read = Joiner::new(hint);
    loop {
        let next = body.frame();
        let frame = match deadline {
            None => next.await,
            Some(deadline) => match timeout_at(deadline, next).await {
                Ok(frame) => frame,
                Err(_) => {
                    return Reading {
                        body: Rejoined::body(read.into_bytes(), Rest::More(body)),
                        found: Found::Endless,
                    };
                }
            },
        };
        match frame {
            None => {
                let bytes = read.into_bytes();
                return Reading { body: whole(bytes.clone(), None), found: Found::Whole { bytes, trailers: None } };
            }
            Some(Err(error)) => {
                let rest = Rest::Failed(Some(error.into_inner()));
                return Reading { body: Rejoined::body(read.into_bytes(), rest), found: Found::Broken };
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    read.push(data);
                    if read.len() > limit {
                        let body = Rejoined::body(read.into_bytes(), Rest::More(body));
                        return Reading { body, found: Found::Endless };
                    }
                }
                // Trailers are the last frame of a body.
                Err(frame) => {
                    let bytes = read.into_bytes();
                    let trailers = frame.into_trailers().ok();
                    let body = whole(bytes.clone(), trailers.clone());
                    return Reading { body, found: Found::Whole { bytes, trailers } };
                }
            },
        }
    }
}

/// Joins chunks; one chunk, the common case, is not copied.
struct Joiner {
    first: Bytes,
    rest: BytesMut,
    expected: usize,
}

impl Joiner {
    fn new(hint: SizeHint) -> Self {
        Self { first: Bytes::new(), rest: BytesMut::new(), expected: hint.exact().unwrap_or(0).try_into().unwrap_or(0) }
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

/// A body of known bytes, perhaps with trailers.
pub(crate) fn whole(bytes: Bytes, trailers: Option<HeaderMap>) -> Body {
    match trailers {
        None => Body::from(bytes),
        Some(trailers) => Rejoined::body(bytes, Rest::Trailers(Some(trailers))),
    }
}

/// Bytes that were read already, then the rest.
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

// A body wraps the errors of what it is made of, and axum looks for its limit's error a fixed number of wrappings deep:
// so one is taken off here.
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
            // How much is missing is not known; and HTTP/1.1 sends trailers with a chunked body only, which a body of known
            // length is not.
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
