//! What a proxy does with the data between client and server.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Pass,
    /// Requests arrive. After this many answers the next one is dropped with its connection, and then the mode is
    /// `Pass` again.
    CutAfter(u32),
    /// Nothing arrives in either direction, and no connection breaks. A new one is accepted and is silent too.
    Silent,
    /// Requests arrive, and no answer does. No connection breaks.
    NoAnswers,
    /// New connections are closed at once, and existing ones break.
    Refuse,
    /// Answers are delayed.
    Late(Duration),
    /// What clients send over the existing connections is held back. New connections pass.
    Hold,
    /// The same as `Hold`, after this many more answers.
    HoldAfter(u32),
    /// The next COMMIT to a PostgreSQL is lost, and then the mode is `Pass` again.
    LoseCommit(Loss),
}

/// What happens to a COMMIT that is lost. In each case its sender sees a broken connection at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The server executes it, and its answer is lost.
    AnswerLost,
    /// The server executes it after [`LATE`].
    ArrivesLate,
    /// The server never receives it, and learns at once that the connection is broken.
    NeverArrives,
    /// The server never receives it. It holds the transaction open until it learns of the broken connection, after
    /// [`LATE`].
    NeverArrivesAndStaysOpen,
}

/// The delay of a COMMIT, or of the end of its connection.
pub const LATE: Duration = Duration::from_millis(700);
