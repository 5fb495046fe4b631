//! Duplicates that wait for the first attempt: one of them asks the store for all of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::sleep,
};

use crate::{
    store::{Lookup, StoreError, StoreKey},
    telemetry::GaugeGuard,
};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The waiters duplicates of this process, by key.
#[derive(Default)]
pub(crate) struct Waiters {
    rooms: Mutex<HashMap<StoreKey, Weak<Room>>>,
}

/// The duplicates of one key.
#[derive(Default)]
struct Room {
    /// Sent to when something happened to the key.
    news: watch::Sender<()>,
    /// Held by the one that asks the store; when it leaves, another one takes its place.
    asking: AsyncMutex<()>,
}

/// One duplicate in the room of its key.
pub(crate) struct Waiter<'a> {
    waiters: &'a Waiters,
    key: &'a StoreKey,
    /// There until the waiter leaves.
    room: Option<Arc<Room>>,
    _counted: GaugeGuard,
}

impl Waiters {
    pub(crate) fn enter<'a>(&'a self, key: &'a StoreKey) -> Waiter<'a> {
        let mut rooms = self.rooms();
        let room = rooms.get(key).and_then(Weak::upgrade).unwrap_or_default();
        rooms.insert(key.clone(), Arc::downgrade(&room));
        Waiter { waiters: self, key, room: Some(room), _counted: GaugeGuard::waiter() }
    }

    /// Tells the waiters of a key that an attempt of this process ended.
    pub(crate) fn wake(&self, key: &StoreKey) {
        let rooms = self.rooms();
        // Under the lock: a waiter that leaves meanwhile must be able to tell that its own share is the last one.
        if let Some(room) = rooms.get(key).and_then(Weak::upgrade) {
            room.news.send_replace(());
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<StoreKey, Weak<Room>>> {
        // The map is never left half changed, so a poisoned lock holds good data.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// Resolves when it is worth claiming again: the running attempt ended, or its lease did.
    ///
    /// News of an attempt in this process come at once. All others are asked for by whoever holds the room's turn, so
    /// news that came before this call are found by the first question.
    pub(crate) async fn news<L>(&self, look: impl Fn() -> L)
    where
        L: Future<Output = Result<Lookup, StoreError>>,
    {
        let Some(room) = &self.room else { return };
        let mut news = room.news.subscribe();
        tokio::select! {
            // The sender lives in the room, which this waiter holds: there is no error to see.
            _ = news.changed() => {}
            () = room.ask(look) => { room.news.send_replace(()); }
        }
    }
}

impl Room {
    /// Asks the store again and again, alone, until there are news.
    async fn ask<L>(&self, look: impl Fn() -> L)
    where
        L: Future<Output = Result<Lookup, StoreError>>,
    {
        let _turn = self.asking.lock().await;
        let mut pause = FIRST_PAUSE;
        loop {
            sleep(jittered(pause)).await;
            pause = pause.mul_f32(1.6).min(LONGEST_PAUSE);
            match look().await {
                // A store that does not answer now may do so next time; the wait itself is bounded.
                Err(_) => {}
                Ok(Lookup::Running { left, .. }) if !left.is_zero() => {}
                Ok(_) => return,
            }
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut rooms = self.waiters.rooms();
        // Under the lock, so that of two that leave at once the second one sees that it is the last.
        drop(self.room.take());
        if rooms.get(self.key).is_some_and(|room| room.strong_count() == 0) {
            rooms.remove(self.key);
        }
    }
}

/// Between three quarters of the pause and all of it, so that processes do not ask in step.
fn jittered(pause: Duration) -> Duration {
    let random = u16::try_from(uuid::Uuid::new_v4().as_u128() & 0xff).unwrap_or(0);
    pause.mul_f32(1.0 - f32::from(random) / 1024.0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::store::Fingerprint;

    fn running() -> Lookup {
        Lookup::Running { fingerprint: Fingerprint::from_bytes([0; 32]), left: Duration::from_secs(1) }
    }

    #[tokio::test(start_paused = true)]
    async fn one_waiter_asks_for_all_and_nothing_is_left_behind() {
        let waiters = Waiters::default();
        let key = StoreKey::new("k");
        let questions = AtomicUsize::new(0);
        let look = || async {
            let done = questions.fetch_add(1, SeqCst) >= 10;
            Ok(if done { Lookup::Absent } else { running() })
        };
        let all: Vec<_> = (0..100).map(|_| waiters.enter(&key)).collect();
        let waits = all.iter().map(|waiter| waiter.news(look));
        futures_util::future::join_all(waits).await;
        assert_eq!(questions.load(SeqCst), 11);
        drop(all);
        assert!(waiters.rooms().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_of_this_process_wakes_at_once() {
        let waiters = Waiters::default();
        let key = StoreKey::new("k");
        let waiter = waiters.enter(&key);
        let start = tokio::time::Instant::now();
        let wait = waiter.news(|| async { Ok(running()) });
        let wake = async {
            sleep(Duration::from_millis(5)).await;
            waiters.wake(&key);
        };
        tokio::join!(wait, wake);
        assert_eq!(start.elapsed(), Duration::from_millis(5));
    }

    #[test]
    fn waiters_that_leave_at_once_leave_nothing_behind() {
        let waiters = Waiters::default();
        for round in 0..20_000 {
            let key = StoreKey::new(format!("k-{round}"));
            let (one, other) = (waiters.enter(&key), waiters.enter(&key));
            std::thread::scope(|threads| {
                threads.spawn(|| drop(one));
                drop(other);
            });
        }
        assert_eq!(waiters.rooms().len(), 0);
    }
}
