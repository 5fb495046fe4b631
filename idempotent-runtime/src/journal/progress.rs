//! [`Progress`]: what an attempt has written to the journal.

use super::Row;

/// What an attempt has written to the journal.
#[derive(Clone, Default)]
pub(crate) enum Progress {
    /// Nothing was written, or nothing of it was committed.
    #[default]
    Untouched,
    /// A row was written, and it is not known here whether it was committed.
    Open,
    /// This row is committed. It is the attempt's own, or one of an earlier attempt.
    Closed(Row),
}
