//! Hashes a request's body while the handler's last argument reads it.
//!
//! The argument gets a [`Tee`] in place of the body. It sees the same chunks, the same trailers and the same error.
//! After the argument was extracted, the rest of the body is read here. The rest is kept in memory if somebody still
//! holds the `Tee`, such as a handler that takes the whole `Request`. Otherwise it is only hashed.

use std::{
    collections::VecDeque,
    error::Error as _,
    future::poll_fn,
    iter::successors,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
};

use axum::{
    BoxError,
    body::{Body, HttpBody},
    http::HeaderMap,
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::LengthLimitError;

use super::{
    Refusal,
    body_digest::{BodyDigest, Digesting},
};
use crate::byte_budget::ReservedBytes;

/// After this many bytes the task yields. Hashing them takes about 300 microseconds.
const TURN: usize = 1 << 20;

/// The limits of one body, in bytes.
pub(crate) struct Limits {
    /// The most that is hashed.
    pub(crate) compared: u64,
    /// The most that is read of a body that the last argument did not read. This is axum's own limit.
    pub(crate) unread: u64,
}

/// The engine's handle to a body that is being read.
pub(crate) struct Recording(Arc<Mutex<Reading>>);

/// The body that the last argument gets.
pub(crate) struct Tee(Arc<Mutex<Reading>>);

/// The state that both handles share.
struct Reading {
    body: Body,
    digest: Digesting,
    read: u64,
    limits: Limits,
    held: ReservedBytes,
    /// The rest of a chunk that is too long to be hashed before yielding.
    pending: Bytes,
    /// Chunks that the engine has read and the holder of the `Tee` has not.
    kept: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    failure: Option<BoxError>,
    end: Option<End>,
    waiting: Waiting,
    /// Bytes that were hashed since the task last yielded.
    turn: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Broken {
        over_limit: bool,
    },
    /// Other requests have the memory.
    NoRoom,
    /// The body is larger than the memory for the bodies of all requests.
    TooLarge,
}

/// Who reads the body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Engine,
    Tee,
}

/// The tasks that wait for the body.
#[derive(Default)]
struct Waiting {
    engine: Option<Waker>,
    tee: Option<Waker>,
}

impl Waiting {
    fn task(&mut self, reader: Reader) -> &mut Option<Waker> {
        match reader {
            Reader::Engine => &mut self.engine,
            Reader::Tee => &mut self.tee,
        }
    }

    /// A body wakes the task that asked last. If both wait, this wakes both.
    fn both(&self) -> Option<Waker> {
        let both = Both(self.engine.clone()?, self.tee.clone()?);
        Some(Waker::from(Arc::new(both)))
    }
}

struct Both(Waker, Waker);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
        self.1.wake_by_ref();
    }
}

/// Splits a body into the engine's handle and the argument's body.
pub(crate) fn record_body(body: Body, limits: Limits, held: ReservedBytes) -> (Recording, Tee) {
    let reading = Reading {
        body,
        digest: Digesting::Short(Bytes::new()),
        read: 0,
        limits,
        held,
        pending: Bytes::new(),
        kept: VecDeque::new(),
        trailers: None,
        failure: None,
        end: None,
        waiting: Waiting::default(),
        turn: 0,
    };
    let shared = Arc::new(Mutex::new(reading));
    (Recording(shared.clone()), Tee(shared))
}

fn lock(reading: &Mutex<Reading>) -> MutexGuard<'_, Reading> {
    // If the body's own code panicked, the state is as good as before it, so a poisoned lock can be used.
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recording {
    /// Why reading stopped, if the service has no memory for the body. That is reported instead of the argument's own
    /// error.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match lock(&self.0).end? {
            End::NoRoom => Some(Refusal::NoRoom),
            End::TooLarge => Some(Refusal::BodyTooLarge),
            End::Whole | End::Broken { .. } => None,
        }
    }

    /// Reads the rest of the body and returns its digest. The bytes stay counted until the returned guard is dropped.
    pub(crate) async fn finish(self) -> Result<(BodyDigest, ReservedBytes), Refusal> {
        let mut unread = 0;
        poll_fn(|context| {
            // If nobody holds the `Tee`, nobody will read these bytes, so they are not kept.
            let wanted = Arc::strong_count(&self.0) > 1;
            lock(&self.0).drain(wanted, &mut unread, context)
        })
        .await?;
        let mut reading = lock(&self.0);
        match reading.end {
            Some(End::Whole) if reading.read <= reading.limits.compared => {
                let length = reading.read;
                Ok((std::mem::take(&mut reading.digest).finish(length), std::mem::take(&mut reading.held)))
            }
            Some(End::Whole | End::Broken { over_limit: true } | End::TooLarge) | None => Err(Refusal::BodyTooLarge),
            Some(End::Broken { over_limit: false }) => Err(Refusal::BodyBroken),
            Some(End::NoRoom) => Err(Refusal::NoRoom),
        }
    }
}

impl Reading {
    /// Reads to the end of the body, within the limits.
    fn drain(&mut self, wanted: bool, unread: &mut u64, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        loop {
            if self.end.is_some() {
                return Poll::Ready(Ok(()));
            }
            let announced = self.body.size_hint().lower() + self.pending.len() as u64;
            if unread.saturating_add(announced) > self.limits.unread
                || self.read.saturating_add(announced) > self.limits.compared
            {
                return Poll::Ready(Err(Refusal::BodyTooLarge));
            }
            match ready!(self.poll_next(Reader::Engine, context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => {
                        *unread += chunk.len() as u64;
                        if wanted {
                            self.kept.push_back(chunk);
                        }
                    }
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => self.failure = Some(error),
                None => {}
            }
        }
    }

    /// The next frame. It is counted and hashed.
    fn poll_next(&mut self, reader: Reader, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        if self.turn >= TURN {
            self.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = match self.poll_for(reader, context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => {
                self.end = Some(End::Whole);
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => {
                self.end = Some(End::Broken { over_limit: is_over_limit(&error) });
                // The next `Body` around this one wraps the error again, and extractors look for the cause at a fixed
                // depth. So one wrapper is removed here.
                return Poll::Ready(Some(Err(error.into_inner())));
            }
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        if let Some(chunk) = frame.data_ref() {
            if !self.held.grow(chunk.len()) {
                let (end, refusal) = if self.held.could_grow(chunk.len()) {
                    (End::NoRoom, Refusal::NoRoom)
                } else {
                    (End::TooLarge, Refusal::BodyTooLarge)
                };
                self.end = Some(end);
                return Poll::Ready(Some(Err(refusal.into())));
            }
            self.read += chunk.len() as u64;
            self.turn += chunk.len();
            if self.read <= self.limits.compared {
                self.digest.add(chunk);
            }
            if self.pending.is_empty() && self.body.is_end_stream() {
                self.end = Some(End::Whole);
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// The next frame of the body. If there is none yet, both readers are woken when there is one: the one that asked
    /// last may be gone by then. When there is one, the other reader is woken.
    fn poll_for(
        &mut self,
        reader: Reader,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut polled = self.poll_body(context);
        if polled.is_pending() {
            *self.waiting.task(reader) = Some(context.waker().clone());
            let Some(both) = self.waiting.both() else { return Poll::Pending };
            polled = self.poll_body(&mut Context::from_waker(&both));
        }
        if polled.is_ready() {
            let other = if reader == Reader::Engine { Reader::Tee } else { Reader::Engine };
            if let Some(waiting) = self.waiting.task(other).take() {
                waiting.wake();
            }
        }
        polled
    }

    /// The next frame of the body, cut to the most that is hashed before yielding.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.pending.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(chunk))) => self.pending = chunk,
                Some(Ok(Err(frame))) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let chunk = self.pending.split_to(self.pending.len().min(TURN));
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    /// The bytes that were read from the body and not yet from the `Tee`.
    fn kept_bytes(&self) -> u64 {
        self.kept.iter().map(|chunk| chunk.len() as u64).sum::<u64>() + self.pending.len() as u64
    }
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut reading = lock(&self.0);
        if let Some(chunk) = reading.kept.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if reading.end.is_some() {
            if let Some(trailers) = reading.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            return Poll::Ready(reading.failure.take().map(Err));
        }
        reading.poll_next(Reader::Tee, context)
    }

    fn is_end_stream(&self) -> bool {
        let reading = lock(&self.0);
        reading.kept.is_empty()
            && reading.trailers.is_none()
            && reading.failure.is_none()
            && (reading.end.is_some() || (reading.pending.is_empty() && reading.body.is_end_stream()))
    }

    fn size_hint(&self) -> SizeHint {
        let reading = lock(&self.0);
        let kept = reading.kept_bytes();
        let rest = match reading.end {
            None => reading.body.size_hint(),
            // If the body failed, it is not known how much is missing. With trailers, no exact length may be stated,
            // because HTTP/1.1 sends trailers only with a chunked body.
            Some(_) if reading.failure.is_some() || reading.trailers.is_some() => SizeHint::new(),
            Some(_) => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(kept)) {
            hint.set_upper(upper);
        }
        hint
    }
}

fn is_over_limit(error: &axum::Error) -> bool {
    let mut causes = successors(error.source(), |&cause| cause.source());
    causes.any(<dyn std::error::Error>::is::<LengthLimitError>)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicBool, Ordering::SeqCst},
    };

    use super::*;
    use crate::byte_budget::ByteBudget;

    /// A body of one chunk, which is what a client's library may make of a large upload.
    fn one_chunk(length: usize) -> (Recording, Tee) {
        let limits = Limits { compared: u64::MAX, unread: u64::MAX };
        record_body(Body::from(vec![7; length]), limits, ByteBudget::new(length).reservation())
    }

    #[test]
    fn a_large_body_is_hashed_in_turns_so_that_other_tasks_run_between_them() {
        let (recording, tee) = one_chunk(8 * TURN);
        drop(tee);
        let reading = Arc::clone(&recording.0);
        let mut finish = pin!(recording.finish());
        let mut context = Context::from_waker(Waker::noop());
        let mut before = 0;
        for _ in 0..7 {
            assert!(finish.as_mut().poll(&mut context).is_pending());
            let read = usize::try_from(lock(&reading).read).unwrap();
            assert!(read - before <= TURN, "{} bytes were hashed in one go", read - before);
            before = read;
        }
        assert!(finish.as_mut().poll(&mut context).is_ready());
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }

    #[test]
    fn a_body_wakes_the_engine_although_another_task_has_asked_since() {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Bytes, BoxError>>();
        let body = Body::from_stream(futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)));
        let limits = Limits { compared: u64::MAX, unread: u64::MAX };
        let (recording, mut tee) = record_body(body, limits, ByteBudget::new(100).reservation());
        let tasks = [(); 2].map(|()| Arc::new(Woken(AtomicBool::new(false))));
        let [engine, other] = tasks.clone().map(Waker::from);
        let mut finish = pin!(recording.finish());
        assert!(finish.as_mut().poll(&mut Context::from_waker(&engine)).is_pending());
        assert!(Pin::new(&mut tee).poll_frame(&mut Context::from_waker(&other)).is_pending());
        // The other task does not ask again.
        sender.send(Ok(Bytes::from_static(b"chunk"))).unwrap();
        assert!(tasks.iter().all(|task| task.0.load(SeqCst)));
    }

    #[test]
    fn a_body_is_hashed_while_it_is_read_and_nothing_is_left_for_its_end() {
        let (recording, mut tee) = one_chunk(4 * TURN);
        let mut context = Context::from_waker(Waker::noop());
        let mut read = 0;
        while read < 4 * TURN {
            if let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut tee).poll_frame(&mut context) {
                read += frame.data_ref().map_or(0, Bytes::len);
                let Digesting::Long(hash) = &lock(&recording.0).digest else { panic!("nothing is hashed yet") };
                assert_eq!(hash.count(), read as u64);
            }
        }
    }
}
