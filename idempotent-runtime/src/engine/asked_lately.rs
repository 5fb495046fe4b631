//! Limits how often the journal is asked about one key.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::StoreKey;

/// After a question about a key, the journal is not asked about the same key for this long.
const PAUSE: Duration = Duration::from_secs(1);

/// How many keys are remembered. When the list is full, the journal is asked about no other key until one second has
/// passed.
const MAX_KEYS: usize = 4_096;

/// The keys that the journal was asked about within the last second.
#[derive(Default)]
pub(crate) struct AskedLately(Mutex<HashMap<StoreKey, Instant>>);

impl AskedLately {
    /// Whether the journal may be asked about the key now. If it returns true, the next question is allowed one second
    /// later.
    pub(super) fn may_ask(&self, key: &StoreKey) -> bool {
        let now = Instant::now();
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.get(key).is_some_and(|last| now.duration_since(*last) < PAUSE) {
            return false;
        }
        if asked.len() >= MAX_KEYS {
            asked.retain(|_, last| now.duration_since(*last) < PAUSE);
        }
        let room = asked.len() < MAX_KEYS;
        if room {
            asked.insert(key.clone(), now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_asked_about_once_a_second_and_what_is_remembered_is_bounded() {
        let asked = AskedLately::default();
        assert!(asked.may_ask(&StoreKey::new("a")));
        assert!(!asked.may_ask(&StoreKey::new("a")));
        tokio::time::advance(PAUSE).await;
        assert!(asked.may_ask(&StoreKey::new("a")));
        for number in 0..2 * MAX_KEYS {
            asked.may_ask(&StoreKey::new(format!("k{number}")));
        }
        assert_eq!(asked.0.lock().unwrap().len(), MAX_KEYS);
        tokio::time::advance(PAUSE).await;
        assert!(asked.may_ask(&StoreKey::new("b")));
        assert_eq!(asked.0.lock().unwrap().len(), 1);
    }
}
