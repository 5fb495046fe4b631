//! How far an attempt has come with the journal.

use super::Row;

/// How far an attempt has come with the journal.
#[derive(Clone, Default)]
pub(crate) enum Progress {
    /// It wrote nothing, or nothing of it was committed.
    #[default]
    Untouched,
    /// It wrote, and what became of its transaction is not known here.
    Open,
    /// This row is committed: its own, or the one that it collided with.
    Closed(Row),
}
