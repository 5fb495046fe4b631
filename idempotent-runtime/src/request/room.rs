//! How many bytes of request bodies a service holds at once. Pure.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The room for the bodies of all requests together.
#[derive(Debug)]
pub(crate) struct Room {
    used: AtomicUsize,
    limit: usize,
}

impl Room {
    pub(crate) fn of(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit })
    }

    /// Nothing yet, of this room.
    pub(crate) fn enter(self: &Arc<Self>) -> Held {
        Held { room: Some(self.clone()), bytes: 0 }
    }

    /// Whether so many more bytes would fit now.
    pub(crate) fn has(&self, bytes: u64) -> bool {
        let free = self.limit.saturating_sub(self.used.load(Relaxed));
        bytes <= free as u64
    }
}

/// What one request takes of the room, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    room: Option<Arc<Room>>,
    bytes: usize,
}

impl Held {
    /// Takes more. `false`, and nothing is taken, if there is no room for it.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let Some(room) = &self.room else { return true };
        let before = room.used.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > room.limit {
            room.used.fetch_sub(bytes, Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.used.fetch_sub(self.bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let room = Room::of(10);
        let (mut one, mut other) = (room.enter(), room.enter());
        assert!(one.grow(4) && other.grow(4) && !one.grow(3) && one.grow(2));
        assert!(!room.has(1));
        drop(one);
        assert!(room.has(6) && !room.has(7));
        assert!(other.grow(6));
    }
}
