//! Renews the leases of all attempts of an engine, in a thread that runs no user code.
//!
//! An attempt is added when it starts and removed when its response is about to be stored. The thread sleeps until the
//! first renewal or deadline is due, checks all attempts, and starts the renewals that are due. A handler that blocks
//! its own thread, or all threads of its runtime, does not delay them.

mod beats;
mod renewing;

use std::sync::{
    Arc,
    atomic::Ordering::{Relaxed, SeqCst},
};

use tokio::time::timeout;

use self::{
    beats::{Beat, Beats, Place, SHARDS},
    renewing::start,
};
use super::attempt::ActiveAttempt;

/// The engine's handle to its heartbeats. Dropping it ends the thread.
pub(crate) struct Heartbeats(Arc<Beats>);

impl Heartbeats {
    pub(crate) fn new() -> Self {
        Self(Beats::new())
    }

    /// Renews the attempt's lease until the returned guard is stopped or dropped.
    pub(crate) fn keep(&self, attempt: &Arc<ActiveAttempt>) -> Heartbeat {
        let beats = &self.0;
        let due = attempt.claimed + attempt.attempt.lease / 3;
        let beat = Beat { attempt: Arc::clone(attempt), renewed: attempt.claimed, next: Some(due), renewing: false };
        let shard = beats.added.fetch_add(1, Relaxed) % SHARDS;
        let at = beats.shard(shard).add(beat);
        if !beats.runs.load(SeqCst) {
            start(beats);
        }
        beats.wake_before(due);
        Heartbeat { beats: Arc::clone(beats), attempt: Arc::clone(attempt), place: Some(Place { shard, at }) }
    }

    /// The attempts that run under a claim. No more than may be in flight.
    #[cfg(feature = "admin")]
    pub(crate) fn attempts(&self) -> Vec<Arc<ActiveAttempt>> {
        self.0.attempts()
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.0.closed.store(true, SeqCst);
        self.0.wake.notify_one();
    }
}

/// The lease of an attempt is renewed while this guard exists.
pub(crate) struct Heartbeat {
    beats: Arc<Beats>,
    attempt: Arc<ActiveAttempt>,
    place: Option<Place>,
}

impl Heartbeat {
    /// Stops the renewals, and waits for one that is under way. If that one arrived later, it would create the claim
    /// again after it was released.
    pub(crate) async fn stop(mut self) {
        let attempt = Arc::clone(&self.attempt);
        let ended = attempt.renewal_ended.notified();
        let renewing = self.remove().is_some_and(|beat| beat.renewing);
        if renewing {
            // A renewal has a time limit, and may be sent over two connections, one after the other.
            let _ = timeout(attempt.renewal_limit() * 2, ended).await;
        }
    }

    fn remove(&mut self) -> Option<Beat> {
        let Place { shard, at } = self.place.take()?;
        self.beats.shard(shard).remove(at)
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.remove();
    }
}
