//! Renews the leases of all attempts of an engine, in a thread that runs no user code.
//!
//! An attempt is added when it starts and removed when its end is stored. The thread sleeps until the first renewal or
//! deadline is due, checks all attempts, and starts the renewals that are due. A handler that blocks its own thread, or all
//! threads of its runtime, does not delay them.

mod beats;

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    time::{Instant, sleep_until, timeout},
};

use self::beats::{Beat, Beats, Checked, Place, SHARDS};
use super::attempt::ActiveAttempt;
use crate::{
    clock,
    error_chain::chain,
    store::{Acquired, Claims as _, RenewOutcome, StoreError, deadline},
    telemetry::{self, limited},
};

/// For how long only the service's connections are asked if those answer and the thread's own do not.
const OWN_STORE_RESTS: Duration = Duration::from_secs(10);

/// The engine's handle to its heartbeats. Dropping it ends the thread.
pub(crate) struct Heartbeats(Arc<Beats>);

impl Heartbeats {
    pub(crate) fn new() -> Self {
        Self(Beats::new())
    }

    /// Renews the attempt's lease until the returned guard is stopped or dropped.
    pub(crate) fn keep(&self, attempt: &Arc<ActiveAttempt>) -> Heartbeat {
        let beats = &self.0;
        let due = attempt.claimed + attempt.claim.lease / 3;
        let beat = Beat { attempt: Arc::clone(attempt), renewed: attempt.claimed, next: Some(due), renewing: false };
        let shard = beats.added.fetch_add(1, Relaxed) % SHARDS;
        let at = beats.shard(shard).add(beat);
        if !beats.runs.load(SeqCst) {
            start(beats);
        }
        beats.wake_before(due);
        Heartbeat { attempt: Arc::clone(attempt), place: Some(Place { shard, at }) }
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
        self.attempt.engine.heartbeats.0.shard(shard).remove(at)
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Starts the thread unless it is running. It ends with the engine.
///
/// Where a test has paused the clock, a task of its runtime does the work, because a thread has the machine's clock.
fn start(beats: &Arc<Beats>) {
    if beats.runs.swap(true, SeqCst) {
        return;
    }
    let work = || beat(TaskGuard(Arc::clone(beats)));
    if clock::is_real() {
        match in_own_thread(work()) {
            Ok(()) => return,
            Err(error) => {
                limited!(NO_THREAD, error = %error);
            }
        }
    }
    // Without a tokio runtime no attempt can run, so there is nothing to renew.
    if let Ok(runtime) = Handle::try_current() {
        beats.runs.store(true, SeqCst);
        runtime.spawn(work());
    }
}

fn in_own_thread(work: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("heartbeats".to_owned());
    thread.spawn(move || runtime.block_on(work)).map(drop)
}

/// Renews leases until the engine is dropped.
async fn beat(guard: TaskGuard) {
    let beats = &guard.0;
    loop {
        // An attempt that is added during the check wakes this task again.
        beats.wakes_at(None);
        let Checked { due, lost, next, more } = beats.check(Instant::now());
        for (attempt, reason) in lost {
            attempt.lose(reason);
        }
        for (place, attempt) in due {
            tokio::spawn(renew(Renewal { beats: Arc::clone(beats), attempt, place, result: None }));
        }
        if next.is_none() && beats.closed.load(SeqCst) {
            return;
        }
        let wake = beats.wake.notified();
        match next {
            Some(next) => {
                if !more {
                    beats.wakes_at(Some(next));
                }
                tokio::select! {
                    biased;
                    () = sleep_until(next) => {}
                    () = wake => {}
                }
            }
            None => wake.await,
        }
    }
}

/// Held while leases are renewed. If the thread panics, or a test's runtime drops the task, the next attempt starts
/// another.
struct TaskGuard(Arc<Beats>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.wakes_at(None);
        self.0.runs.store(false, SeqCst);
    }
}

/// A renewal that is under way. When it is dropped, with or without a result, its attempt is told.
struct Renewal {
    beats: Arc<Beats>,
    attempt: Arc<ActiveAttempt>,
    place: Place,
    result: Option<(Instant, RenewOutcome)>,
}

async fn renew(mut renewal: Renewal) {
    let Some(claim) = renewal.attempt.current() else { return };
    let asked = Instant::now();
    match ask(&renewal.beats, &renewal.attempt, &claim).await {
        Ok(outcome) => renewal.result = Some((asked, outcome)),
        Err(error) => limited!(HEARTBEAT_FAILED; renewal.attempt.about(), error = %chain(&error)),
    }
}

/// Asks the store to renew the lease, over the thread's own connection if there is one. If that gives no answer, because
/// the server takes no more connections, over the service's. A renewal that arrives twice does no harm.
async fn ask(beats: &Beats, active: &ActiveAttempt, claim: &Acquired) -> Result<RenewOutcome, StoreError> {
    let (engine, limit) = (&active.engine, active.renewal_limit());
    let own = beats.own_store(engine);
    if let Some(own) = own {
        let answer = deadline::once(limit, own.renew(&active.claim, claim)).await;
        if !matches!(answer, Err(StoreError::Down(_) | StoreError::Timeout)) {
            return answer;
        }
    }
    let answer = deadline::once(limit, engine.store.renew(&active.claim, claim)).await;
    match &answer {
        Ok(_) if own.is_some() => beats.rest_own_store(OWN_STORE_RESTS),
        Err(_) if own.is_none() => beats.rest_own_store(Duration::ZERO),
        _ => {}
    }
    answer
}

impl Drop for Renewal {
    fn drop(&mut self) {
        let Self { beats, attempt, place, result } = self;
        let lease = attempt.claim.lease;
        if result.is_none() {
            attempt.renewal_unanswered.store(true, SeqCst);
        }
        beats.renewing.fetch_sub(1, SeqCst);
        let mut due = None;
        if let Some(beat) = beats.shard(place.shard).entry(place.at, attempt) {
            beat.renewing = false;
            // An attempt that has lasted too long has no next renewal.
            beat.next = beat.next.and(match result {
                Some((asked, RenewOutcome::Renewed | RenewOutcome::Recreated)) => {
                    beat.renewed = *asked;
                    Some(*asked + lease / 3)
                }
                Some((_, RenewOutcome::Completed | RenewOutcome::Lost)) => None,
                // Tries go on after the lease is over: if nobody else claimed the key, a store that is reachable again
                // still has the claim.
                None => Some(Instant::now() + lease / 10),
            });
            due = beat.next;
        }
        match result {
            Some((_, RenewOutcome::Lost)) => attempt.lose("another attempt has taken the key over"),
            Some((_, RenewOutcome::Recreated)) => telemetry::recreated(attempt.about()),
            _ => {}
        }
        attempt.renewal_ended.notify_waiters();
        // Another one may wait for its turn.
        beats.wake_before(due.unwrap_or_else(Instant::now));
    }
}
