//! Checks whether the journal's table exists, and whether expired rows are deleted.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// After a missing table was found, the database is asked again after this time.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// After a missing table was logged, it is not logged again for this time.
const LOG_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is known of a journal's table. All clones of the journal share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Readiness(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The table exists, and the check for the clean-up was made.
    ready: AtomicBool,
    found: AtomicBool,
    cleaned: AtomicBool,
    last: Mutex<Last>,
}

/// The last times at which the table was not found.
#[derive(Debug, Default)]
struct Last {
    asked: Option<(Instant, bool)>,
    logged: Option<Instant>,
}

impl Readiness {
    /// Whether the table was found and the check for the clean-up was made.
    pub(super) fn is_ready(&self) -> bool {
        self.0.ready.load(Relaxed)
    }

    /// Called when the table exists: it was created or read.
    pub(super) fn found(&self) {
        self.0.found.store(true, Relaxed);
    }

    pub(super) fn is_found(&self) -> bool {
        self.0.found.load(Relaxed)
    }

    /// Called when this process deletes expired rows, or when the service says that another one does.
    pub(super) fn cleaned(&self) {
        self.0.cleaned.store(true, Relaxed);
    }

    /// Called at the first request after the table was found. Logs a warning if nothing deletes expired rows.
    pub(super) fn serve(&self) {
        if !self.0.ready.swap(true, Relaxed) && !self.0.cleaned.load(Relaxed) {
            tracing::warn!(
                "this process does not delete expired rows of the journal, so its table may grow for ever: spawn \
                 `SqlJournal::keep_small`, or say by `SqlJournal::cleaned_elsewhere` that another one deletes them"
            );
        }
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
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
