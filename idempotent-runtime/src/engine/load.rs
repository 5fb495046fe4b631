//! Counts the requests and the background work of an engine. The count bounds the requests in flight, and a shutdown
//! waits until it is zero.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::sync::Notify;

use crate::telemetry::{GaugeGuard, LoadMetrics};

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
    pub(crate) fn new(max_requests: usize) -> Arc<Self> {
        let (requests, background, draining) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self {
            max_requests,
            requests,
            background,
            draining,
            idle: Notify::new(),
            metrics: LoadMetrics::default(),
        })
    }

    /// Admits one more request. `None` when the greatest number of requests is in flight.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<InFlight> {
        if self.requests.fetch_add(1, SeqCst) >= self.max_requests {
            self.end(&self.requests);
            return None;
        }
        Some(InFlight { load: Arc::clone(self), _gauge: self.metrics.in_flight() })
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
        let _draining = Draining(self);
        loop {
            let idle = self.idle.notified();
            if self.is_idle() {
                return;
            }
            idle.await;
        }
    }

    fn is_idle(&self) -> bool {
        self.requests.load(SeqCst) == 0 && self.background.load(SeqCst) == 0
    }

    fn end(&self, counter: &AtomicUsize) {
        counter.fetch_sub(1, SeqCst);
        if self.draining.load(SeqCst) > 0 && self.is_idle() {
            self.idle.notify_waiters();
        }
    }
}

struct Draining<'a>(&'a Load);

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.0.draining.fetch_sub(1, SeqCst);
    }
}

/// The place of a request with a key among the requests in flight. When the client hangs up, it moves with the attempt
/// to its task.
pub(crate) struct InFlight {
    load: Arc<Load>,
    _gauge: GaugeGuard,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.load.end(&self.load.requests);
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

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Context};

    use super::*;

    #[tokio::test]
    async fn a_drain_waits_for_requests_and_for_background_work() {
        let load = Load::new(1);
        let request = load.admit();
        assert!(request.is_some() && load.admit().is_none());
        let background = load.background();
        let mut drained = pin!(load.drained());
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(drained.as_mut().poll(&mut context).is_pending());
        drop(request);
        assert!(drained.as_mut().poll(&mut context).is_pending());
        drop(background);
        drained.await;
        assert_eq!(load.requests.load(SeqCst), 0);
    }
}
