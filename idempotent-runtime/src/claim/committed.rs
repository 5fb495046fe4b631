//! The results of a commit: the response, or a row to insert.

use std::fmt;

use axum::response::{IntoResponse, Response};

/// The result of [`Claim::commit`](crate::Claim::commit). Return it unchanged. A header that is added afterwards is
/// sent once and not replayed.
#[must_use = "return it from the handler: the client must get the response that was committed"]
pub struct Committed {
    pub(crate) response: Response,
    pub(crate) replayed: bool,
}

/// Prints nothing of the response, because it belongs to the client.
impl fmt::Debug for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committed").field("replayed", &self.replayed).finish_non_exhaustive()
    }
}

impl Committed {
    /// Whether this transaction was rolled back because an earlier attempt had committed. The response is that
    /// attempt's.
    ///
    /// A mail that is sent after the commit is lost when the process dies in between, since the retry is a replay. Write
    /// it as a row of an outbox in the same transaction, or send it before, as a [`step`](crate::Claim::step).
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

/// The row of a commit as plain fields, for those who do not write it by sqlx.
///
/// The fields are the parameters of [`SqlStore::commit_statement`](crate::SqlStore::commit_statement), in order.
/// `Debug` prints none of them.
#[non_exhaustive]
pub struct CommitEntry {
    /// SHA-256 of the key's name in the store.
    pub key: Vec<u8>,
    /// The fingerprint of the request.
    pub fingerprint: Vec<u8>,
    /// The token of the attempt. It is a secret until the claim has ended.
    pub token: Vec<u8>,
    /// The fencing token of the attempt.
    pub fence: i64,
    /// The encoded response.
    pub record: Vec<u8>,
    /// How long the row is kept, in milliseconds.
    pub ttl_millis: i64,
}

impl fmt::Debug for CommitEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitEntry").finish_non_exhaustive()
    }
}
