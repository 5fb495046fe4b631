//! What a commit gives back: the response, or a row to insert.

use std::fmt;

use axum::response::{IntoResponse, Response};

/// What [`Claim::commit`](crate::Claim::commit) answers with. Return it as it is: a header that is added later is sent once and not replayed.
#[must_use = "the client has to get the response that was committed"]
pub struct Committed {
    pub(crate) response: Response,
    pub(crate) replayed: bool,
}

/// Shows nothing of the response: it is the client's.
impl fmt::Debug for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committed").field("replayed", &self.replayed).finish_non_exhaustive()
    }
}

impl Committed {
    /// Whether this transaction was rolled back because an earlier attempt's is committed, whose response this is.
    ///
    /// Whatever follows a payment only once, a message for example, is not to follow then.
    #[must_use]
    pub fn replayed(&self) -> bool {
        self.replayed
    }
}

impl IntoResponse for Committed {
    fn into_response(self) -> Response {
        self.response
    }
}

impl From<Committed> for Response {
    fn from(committed: Committed) -> Self {
        committed.response
    }
}

/// One row of the journal in plain fields, for those who insert it without sqlx.
///
/// The fields are the parameters of [`SqlJournal::insert_statement`](crate::SqlJournal::insert_statement), in order. `Debug`
/// shows none of them.
#[non_exhaustive]
pub struct JournalEntry {
    /// SHA-256 of the key's name in the store.
    pub key: Vec<u8>,
    /// What the request asks for.
    pub fingerprint: Vec<u8>,
    /// Whose attempt it is. A secret until the claim has ended.
    pub token: Vec<u8>,
    /// The attempt's fence.
    pub fence: i64,
    /// The encoded response.
    pub record: Vec<u8>,
    /// How long the row counts, in milliseconds.
    pub ttl_millis: i64,
}

impl fmt::Debug for JournalEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalEntry").finish_non_exhaustive()
    }
}
