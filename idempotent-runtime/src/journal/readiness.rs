//! Remembers whether the table for commits exists.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// After a missing table was found, the database is asked again after this time.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// After a missing table was logged, it is not logged again for this time.
const LOG_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is known of a table.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    found: AtomicBool,
    last: Mutex<Last>,
}

/// The last times at which the table was not found.
#[derive(Debug, Default)]
struct Last {
    asked: Option<(Instant, bool)>,
    logged: Option<Instant>,
}

impl Readiness {
    /// Called when the table was read.
    pub(super) fn found(&self) {
        self.found.store(true, Relaxed);
    }

    pub(super) fn is_found(&self) -> bool {
        self.found.load(Relaxed)
    }

    /// The last answer, if it is recent: whether handlers may run. `None` if it is time to ask the database again.
    pub(super) fn recent(&self) -> Option<bool> {
        let (asked, may_run) = self.last().asked?;
        (asked.elapsed() < ASK_AGAIN_AFTER).then_some(may_run)
    }

    /// Called when the database was asked and the table was not found.
    pub(super) fn not_found(&self, may_run: bool) {
        self.last().asked = Some((Instant::now(), may_run));
    }

    /// Whether it is time to log that the table is not there.
    pub(super) fn is_to_be_logged(&self) -> bool {
        let mut last = self.last();
        let due = last.logged.is_none_or(|logged| logged.elapsed() >= LOG_AGAIN_AFTER);
        if due {
            last.logged = Some(Instant::now());
        }
        due
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
