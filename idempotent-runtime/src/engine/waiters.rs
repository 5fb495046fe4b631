//! Duplicates that wait for the first attempt. One of them asks the store, for all of them.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::{
    backoff::Backoff,
    store::{Lookup, StoreError, StoreKey},
    telemetry::{GaugeGuard, LoadMetrics, Timer},
};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The duplicates that wait in this process, by key.
pub(crate) struct Waiters {
    queues: Mutex<HashMap<StoreKey, Weak<Queue>>>,
    /// The number of queues. Every request that ends reads it, without the lock.
    count: AtomicUsize,
    max_per_key: usize,
    metrics: LoadMetrics,
}

/// The duplicates of one key.
#[derive(Default)]
struct Queue {
    waiting: AtomicUsize,
    /// Notified when an attempt at the key has ended.
    changed: Notify,
    /// Held by the duplicate that asks the store. When it leaves, another one takes its place.
    poller: AsyncMutex<()>,
}

/// One waiting duplicate.
pub(crate) struct Waiter<'a> {
    waiters: &'a Waiters,
    key: &'a StoreKey,
    /// `None` after the waiter has left.
    queue: Option<Arc<Queue>>,
    _metrics: (GaugeGuard, Timer),
}

impl Waiters {
    pub(crate) fn new(max_per_key: usize, metrics: LoadMetrics) -> Self {
        Self { queues: Mutex::default(), count: AtomicUsize::new(0), max_per_key, metrics }
    }

    /// Adds a waiter to the queue of a key. `None` when the queue is full.
    pub(crate) fn enter<'a>(&'a self, key: &'a StoreKey) -> Option<Waiter<'a>> {
        let mut queues = self.queues();
        let queue = queues.get(key).and_then(Weak::upgrade).unwrap_or_default();
        if queue.waiting.load(SeqCst) >= self.max_per_key {
            return None;
        }
        queue.waiting.fetch_add(1, SeqCst);
        queues.insert(key.clone(), Arc::downgrade(&queue));
        self.count.store(queues.len(), SeqCst);
        Some(Waiter { waiters: self, key, queue: Some(queue), _metrics: self.metrics.waiter() })
    }

    /// Called when an attempt in this process has stored its response. Wakes every waiter of the key.
    pub(crate) fn completed(&self, key: &StoreKey) {
        self.with(key, |queue| queue.changed.notify_waiters());
    }

    /// Called when an attempt in this process has given up its claim. Wakes one waiter: only one of them can claim the
    /// key.
    pub(crate) fn released(&self, key: &StoreKey) {
        self.with(key, |queue| queue.changed.notify_one());
    }

    fn with(&self, key: &StoreKey, wake: impl FnOnce(&Queue)) {
        // A waiter that enters after this check asks the store itself, soon enough.
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let queues = self.queues();
        // The notification is sent under the lock, so that a waiter that leaves at the same time can tell whether it
        // holds the last reference.
        if let Some(queue) = queues.get(key).and_then(Weak::upgrade) {
            wake(&queue);
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<StoreKey, Weak<Queue>>> {
        // The map is never left half changed, so a poisoned lock can be used.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// Resolves when the running attempt or its lease has ended.
    ///
    /// The end of an attempt in this process is noticed at once. For other processes, the poller asks the store; it
    /// also finds an attempt that ended before this call.
    pub(crate) async fn changed<L>(&self, lookup: impl Fn() -> L)
    where
        L: Future<Output = Result<Lookup, StoreError>>,
    {
        let Some(queue) = &self.queue else { return };
        tokio::select! {
            biased;
            () = queue.changed.notified() => {}
            () = queue.poll(lookup) => {}
        }
    }
}

impl Queue {
    /// Asks the store until it is worth claiming. Only one waiter of a key does this at a time.
    async fn poll<L>(&self, lookup: impl Fn() -> L)
    where
        L: Future<Output = Result<Lookup, StoreError>>,
    {
        let _turn = self.poller.lock().await;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while backoff.pause().await {
            match lookup().await {
                // The store may answer at the next try. The wait itself has an end.
                Err(_) => {}
                Ok(Lookup::Running { left, .. }) if !left.is_zero() => {}
                // The key may be claimed. Only this waiter claims it; the next poller asks the store again.
                Ok(Lookup::Running { .. } | Lookup::Absent) => return,
                Ok(Lookup::Done { .. } | Lookup::Unreadable) => {
                    self.changed.notify_waiters();
                    return;
                }
            }
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut queues = self.waiters.queues();
        // Under the lock, so that of two waiters that leave at the same time the second one removes the queue.
        if let Some(queue) = self.queue.take() {
            queue.waiting.fetch_sub(1, SeqCst);
        }
        if queues.get(self.key).is_some_and(|queue| queue.strong_count() == 0) {
            queues.remove(self.key);
            self.waiters.count.store(queues.len(), SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Waker},
    };

    use tokio::time::sleep;

    use super::*;
    use crate::{store::Fingerprint, telemetry::Metrics};

    fn waiters(max_per_key: usize) -> Waiters {
        Waiters::new(max_per_key, Metrics::new("tests", Vec::new(), std::iter::empty()).load())
    }

    fn running() -> Lookup {
        Lookup::Running { fingerprint: Fingerprint::from_bytes([0; 32]), left: Duration::from_secs(1) }
    }

    fn done() -> Lookup {
        Lookup::Done { fingerprint: Fingerprint::from_bytes([0; 32]), record: bytes::Bytes::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn one_waiter_asks_for_all_and_nothing_is_left_behind() {
        let waiters = waiters(100);
        let key = StoreKey::new("k");
        let questions = AtomicUsize::new(0);
        let lookup = || async { Ok(if questions.fetch_add(1, SeqCst) >= 10 { done() } else { running() }) };
        let all: Vec<_> = (0..100).map(|_| waiters.enter(&key).expect("a place")).collect();
        futures_util::future::join_all(all.iter().map(|waiter| waiter.changed(lookup))).await;
        assert_eq!(questions.load(SeqCst), 11);
        assert!(waiters.enter(&key).is_none(), "the queue is full");
        drop(all);
        assert!(waiters.queues().is_empty());
        assert_eq!(waiters.count.load(SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_of_this_process_wakes_at_once() {
        let waiters = waiters(1);
        let key = StoreKey::new("k");
        let waiter = waiters.enter(&key).expect("a place");
        let start = tokio::time::Instant::now();
        let wait = waiter.changed(|| async { Ok(running()) });
        let wake = async {
            sleep(Duration::from_millis(5)).await;
            waiters.completed(&key);
        };
        tokio::join!(wait, wake);
        assert_eq!(start.elapsed(), Duration::from_millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_asks_until_the_attempt_or_its_lease_has_ended() {
        let dead = Lookup::Running { fingerprint: Fingerprint::from_bytes([0; 32]), left: Duration::ZERO };
        for last in [done(), dead, Lookup::Absent] {
            let waiters = waiters(1);
            let (key, questions) = (StoreKey::new("k"), AtomicUsize::new(0));
            let lookup = || async { Ok(if questions.fetch_add(1, SeqCst) >= 10 { last.clone() } else { running() }) };
            waiters.enter(&key).expect("a place").changed(lookup).await;
            assert_eq!(questions.load(SeqCst), 11, "{last:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_leaves_takes_no_other_out_of_the_queue() {
        let waiters = waiters(2);
        let key = StoreKey::new("k");
        let (leaves, stays) = (waiters.enter(&key).expect("a place"), waiters.enter(&key).expect("a place"));
        let start = tokio::time::Instant::now();
        let wait = stays.changed(|| async { Ok(running()) });
        let wake = async {
            drop(leaves);
            sleep(Duration::from_millis(5)).await;
            waiters.completed(&key);
        };
        tokio::join!(wait, wake);
        assert_eq!(start.elapsed(), Duration::from_millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_wakes_one_waiter_and_a_completion_wakes_all() {
        let waiters = waiters(10);
        let key = StoreKey::new("k");
        let all: Vec<_> = (0..3).map(|_| waiters.enter(&key).expect("a place")).collect();
        let mut waits: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
        for waiter in &all {
            waits.push(Box::pin(waiter.changed(|| async { Ok(running()) })));
        }
        let ready = |waits: &mut Vec<Pin<Box<dyn Future<Output = ()> + '_>>>| {
            let before = waits.len();
            let mut context = Context::from_waker(Waker::noop());
            waits.retain_mut(|wait| wait.as_mut().poll(&mut context).is_pending());
            before - waits.len()
        };
        assert_eq!(ready(&mut waits), 0);
        waiters.released(&key);
        assert_eq!(ready(&mut waits), 1);
        waiters.completed(&key);
        assert_eq!(ready(&mut waits), 2);
    }

    #[test]
    fn waiters_that_leave_at_once_leave_nothing_behind() {
        let waiters = waiters(2);
        for round in 0..20_000 {
            let key = StoreKey::new(format!("k-{round}"));
            let (one, other) = (waiters.enter(&key), waiters.enter(&key));
            std::thread::scope(|threads| {
                threads.spawn(|| drop(one));
                drop(other);
            });
        }
        assert_eq!(waiters.queues().len(), 0);
    }
}
