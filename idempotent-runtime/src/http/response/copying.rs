//! Copies a response while it is sent, so that it can be stored after it has ended. Pure.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    BoxError,
    body::{Body, HttpBody},
    http::HeaderMap,
};
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::byte_budget::ReservedBytes;

/// The copy of a body that has ended.
pub(crate) struct Copied {
    pub(crate) bytes: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// Keeps the bytes counted until they are stored.
    pub(crate) held: ReservedBytes,
}

/// What to do with a copy.
pub(crate) trait Keep: Send + 'static {
    /// Called when the body has ended and the copy is complete.
    fn whole(self, copied: Copied);

    /// Called when the body is larger than the limit.
    fn too_large(self);

    /// Called when the body was dropped before its end. The client hung up, or has read the announced length and no
    /// more.
    fn dropped(self, rest: Rest)
    where
        Self: Sized;
}

/// Copies a body while it is read.
pub(crate) fn copy<K: Keep>(body: Body, limit: usize, held: ReservedBytes, keep: K) -> Body {
    let copy = Copy { chunks: Vec::new(), length: 0, limit, held };
    Body::new(Copying { body, copy: Some((copy, keep)) })
}

struct Copying<K: Keep> {
    body: Body,
    /// `None` when there is nothing to copy any more: the body has ended, has failed, or is too large.
    copy: Option<(Copy, K)>,
}

struct Copy {
    chunks: Vec<Bytes>,
    length: usize,
    limit: usize,
    held: ReservedBytes,
}

impl Copy {
    /// Returns `false` if there is no memory for the chunk.
    fn push(&mut self, chunk: &Bytes) -> bool {
        self.length = self.length.saturating_add(chunk.len());
        if self.length > self.limit || !self.held.grow(chunk.len()) {
            return false;
        }
        self.chunks.push(chunk.clone());
        true
    }

    fn end(self, trailers: Option<HeaderMap>) -> Copied {
        let mut bytes = BytesMut::with_capacity(self.length);
        self.chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        Copied { bytes: bytes.freeze(), trailers, held: self.held }
    }
}

impl<K: Keep> Copying<K> {
    fn end(&mut self, trailers: Option<HeaderMap>) {
        if let Some((copy, keep)) = self.copy.take() {
            keep.whole(copy.end(trailers));
        }
    }
}

// Neither the body nor the copy is pinned in place.
impl<K: Keep> Unpin for Copying<K> {}

impl<K: Keep> HttpBody for Copying<K> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            None => self.end(None),
            Some(Err(_)) => self.copy = None,
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.end(Some(trailers.clone()));
                } else if let (Some(chunk), Some((copy, _))) = (frame.data_ref(), &mut self.copy) {
                    if !copy.push(chunk) {
                        let given_up = self.copy.take();
                        if let Some((_, keep)) = given_up.filter(|(copy, _)| copy.length > copy.limit) {
                            keep.too_large();
                        }
                    } else if self.body.is_end_stream() {
                        self.end(None);
                    }
                }
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::into_inner)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<K: Keep> Drop for Copying<K> {
    fn drop(&mut self) {
        if let Some((copy, keep)) = self.copy.take() {
            keep.dropped(Rest { body: std::mem::take(&mut self.body), copy });
        }
    }
}

/// The part of a body that was not read.
pub(crate) struct Rest {
    body: Body,
    copy: Copy,
}

impl Rest {
    /// Reads it to its end. `None` if it fails or is too large.
    pub(crate) async fn read(mut self) -> Option<Copied> {
        loop {
            match self.body.frame().await.map(|frame| frame.map(Frame::into_data)) {
                None => return Some(self.copy.end(None)),
                Some(Ok(Err(frame))) => return Some(self.copy.end(frame.into_trailers().ok())),
                Some(Ok(Ok(chunk))) if self.copy.push(&chunk) => {}
                Some(_) => return None,
            }
        }
    }
}
