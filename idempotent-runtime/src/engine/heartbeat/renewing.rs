//! The thread that renews leases, and one renewal.

use std::{
    future::Future,
    io,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use tokio::{
    runtime::{Builder, Handle},
    time::{Instant, sleep_until},
};

use super::beats::{Beats, Checked, Place};
use crate::{
    clock,
    engine::{attempt::ActiveAttempt, deadline},
    error_chain::chain,
    store::{Acquired, RenewOutcome, StoreError},
    telemetry::{self, limited},
};

/// Starts the thread unless it is running. It ends with the engine.
///
/// Where a test has paused the clock, a task of its runtime does the work, because a thread has the machine's clock.
pub(super) fn start(beats: &Arc<Beats>) {
    if beats.runs.swap(true, SeqCst) {
        return;
    }
    let work = || beat(Running(Arc::clone(beats)));
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
async fn beat(running: Running) {
    let beats = &running.0;
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
struct Running(Arc<Beats>);

impl Drop for Running {
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
    let Some(held) = renewal.attempt.standing() else { return };
    let asked = Instant::now();
    match ask(&renewal.beats, &renewal.attempt, &held).await {
        Ok(outcome) => renewal.result = Some((asked, outcome)),
        Err(error) => limited!(HEARTBEAT_FAILED; renewal.attempt.about(), error = %chain(&error)),
    }
}

/// Asks the store to renew the lease, over the thread's own connection if there is one. If that is down, because the
/// server takes no more connections, over the service's.
async fn ask(beats: &Beats, active: &ActiveAttempt, held: &Acquired) -> Result<RenewOutcome, StoreError> {
    let (engine, limit) = (&active.engine, active.renewal_limit());
    if let Some(own) = beats.own_store(engine) {
        let answer = deadline::once(limit, own.renew(&active.attempt, held)).await;
        if !matches!(answer, Err(StoreError::Down(_))) {
            return answer;
        }
    }
    deadline::once(limit, engine.store.renew(&active.attempt, held)).await
}

impl Drop for Renewal {
    fn drop(&mut self) {
        let Self { beats, attempt, place, result } = self;
        let lease = attempt.attempt.lease;
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
