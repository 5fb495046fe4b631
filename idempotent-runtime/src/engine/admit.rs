//! Admits requests: bounds how many are in flight, and how many bytes of their bodies are held in memory. Also counts
//! the work in the background: a shutdown waits until nothing is left. Two handlers of the same `operation` are found here.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::sync::Notify;

use super::Engine;
use crate::{
    byte_budget::ReservedBytes,
    telemetry::{GaugeGuard, LoadMetrics, log},
};

/// A request's place among the requests in flight, and the memory reserved for its body. Dropping it returns both.
///
/// When the client hangs up, it moves with the attempt to its task.
pub(crate) struct Admission {
    load: Arc<Load>,
    body: ReservedBytes,
    _gauge: GaugeGuard,
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// Too many requests are in flight.
    TooMany,
    /// The bodies of the requests in flight leave no room for this one.
    NoRoom,
    /// The body is larger than the bodies of all requests together may be.
    TooLarge,
}

impl Admission {
    /// Admits a request with a key before any of its body is read.
    ///
    /// `announced`: the least number of bytes that its body will have.
    pub(crate) fn ask(engine: &Engine, announced: u64) -> Result<Self, NotAdmitted> {
        let admission = Self::place(&engine.load, engine.bodies.reservation()).ok_or(NotAdmitted::TooMany)?;
        if engine.bodies.has(announced) {
            return Ok(admission);
        }
        Err(if engine.bodies.could_have(announced) { NotAdmitted::NoRoom } else { NotAdmitted::TooLarge })
    }

    fn place(load: &Arc<Load>, body: ReservedBytes) -> Option<Self> {
        if load.requests.fetch_add(1, SeqCst) >= load.max_requests {
            load.end(&load.requests);
            return None;
        }
        Some(Self { load: Arc::clone(load), body, _gauge: load.metrics.in_flight() })
    }

    /// Hands over the memory reserved for the body, to the reader of the body.
    pub(crate) fn take_share(&mut self) -> ReservedBytes {
        std::mem::take(&mut self.body)
    }

    /// Takes the reserved memory back after the body was read.
    pub(crate) fn return_share(&mut self, share: ReservedBytes) {
        self.body = share;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.load.end(&self.load.requests);
    }
}

/// Counts requests and background work.
pub(crate) struct Load {
    max_requests: usize,
    requests: AtomicUsize,
    /// Releases of claims, and responses that are stored after they were sent.
    background: AtomicUsize,
    /// How many calls of [`drained`](Self::drained) are waiting.
    draining: AtomicUsize,
    idle: Notify,
    metrics: LoadMetrics,
}

impl Load {
    pub(crate) fn new(max_requests: usize, metrics: LoadMetrics) -> Arc<Self> {
        Arc::new(Self {
            max_requests,
            requests: AtomicUsize::new(0),
            background: AtomicUsize::new(0),
            draining: AtomicUsize::new(0),
            idle: Notify::new(),
            metrics,
        })
    }

    /// How many requests are in flight, waiting duplicates included.
    #[cfg(feature = "admin")]
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// Counts work in the background, so that a shutdown waits for it.
    pub(crate) fn background(self: &Arc<Self>) -> Background {
        self.background.fetch_add(1, SeqCst);
        Background { load: Arc::clone(self) }
    }

    /// Resolves when no request is in flight and no background work is left.
    pub(crate) async fn drained(&self) {
        self.draining.fetch_add(1, SeqCst);
        let mut draining = Draining { load: self, waits: false };
        loop {
            let idle = self.idle.notified();
            if self.is_idle() {
                return draining.ended();
            }
            draining.begins_to_wait();
            idle.await;
        }
    }

    /// How many requests are in flight, and how much work is done in the background.
    fn counts(&self) -> (usize, usize) {
        (self.requests.load(SeqCst), self.background.load(SeqCst))
    }

    fn is_idle(&self) -> bool {
        self.counts() == (0, 0)
    }

    fn end(&self, counter: &AtomicUsize) {
        counter.fetch_sub(1, SeqCst);
        if self.draining.load(SeqCst) > 0 && self.is_idle() {
            self.idle.notify_waiters();
        }
    }
}

/// A call of [`Load::drained`].
struct Draining<'a> {
    load: &'a Load,
    waits: bool,
}

impl Draining<'_> {
    fn begins_to_wait(&mut self) {
        if !std::mem::replace(&mut self.waits, true) {
            let (requests, background) = self.load.counts();
            tracing::info!(
                requests,
                background,
                "drain waits for requests in flight, and for responses and claims whose end is not stored yet"
            );
        }
    }

    fn ended(mut self) {
        if std::mem::take(&mut self.waits) {
            tracing::info!("drain has ended: nothing is in flight");
        }
    }
}

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.load.draining.fetch_sub(1, SeqCst);
        // The caller's time limit is over.
        if self.waits {
            let (requests, background) = self.load.counts();
            log!(DRAIN_GIVEN_UP, requests, background);
        }
    }
}

/// Counts as one piece of background work until it is dropped.
pub(crate) struct Background {
    load: Arc<Load>,
}

impl Drop for Background {
    fn drop(&mut self) {
        self.load.end(&self.load.background);
    }
}

/// The operations that requests have named so far, each with its handler.
#[derive(Default)]
pub(crate) struct Operations(RwLock<HashMap<&'static str, &'static str>>);

impl Operations {
    /// The handler that used this name first, if it is another one.
    pub(crate) fn other_user(&self, operation: &'static str, handler: &'static str) -> Option<&'static str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(operation).copied();
        let first = known.unwrap_or_else(|| {
            self.0.write().unwrap_or_else(PoisonError::into_inner).entry(operation).or_insert(handler)
        });
        (first != handler).then_some(first)
    }
}
