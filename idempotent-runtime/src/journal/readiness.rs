//! Whether a service may rely on its journal: its table is there, and somebody deletes what has expired.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How long an answer about a table that is not there counts, before the database is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long a table that is not there is not logged again.
const LOG_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is known of a journal's table. Shared by all clones of the journal.
#[derive(Clone, Debug, Default)]
pub(super) struct Readiness(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The table was found, and whether it is cleaned was looked at.
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
    /// Nothing is left to be asked or said.
    pub(super) fn is_ready(&self) -> bool {
        self.0.ready.load(Relaxed)
    }

    /// The table is there: it was made, or read.
    pub(super) fn found(&self) {
        self.0.found.store(true, Relaxed);
    }

    pub(super) fn is_found(&self) -> bool {
        self.0.found.load(Relaxed)
    }

    /// Somebody deletes expired rows.
    pub(super) fn cleaned(&self) {
        self.0.cleaned.store(true, Relaxed);
    }

    /// The first request has come, and the table is there. Warns if nobody has said that expired rows are deleted.
    pub(super) fn serve(&self) {
        if !self.0.ready.swap(true, Relaxed) && !self.0.cleaned.load(Relaxed) {
            tracing::warn!(
                "this process does not delete expired rows of the journal, so its table may grow for ever: spawn \
                 `SqlJournal::keep_small`, or say by `SqlJournal::cleaned_elsewhere` that another one deletes them"
            );
        }
    }

    /// What was answered a moment ago: whether handlers may run. `None` if it is time to ask the database.
    pub(super) fn recent(&self) -> Option<bool> {
        let (asked, may_run) = self.last().asked?;
        (asked.elapsed() < ASK_AGAIN_AFTER).then_some(may_run)
    }

    /// The database was asked, and did not show the table.
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
